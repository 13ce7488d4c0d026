"""Manifests that are broken, and by which words that must be told. A trial that passes them would find nothing."""

# The golden file that is broken.
ON = "production"


def pod(rendering, kind="Deployment"):
    return rendering.template(rendering.of_kind(kind)[0])


def container(rendering, kind="Deployment"):
    return pod(rendering, kind)["containers"][0]


def setting(rendering, name, kind="Deployment"):
    return next(entry for entry in container(rendering, kind)["env"] if entry["name"] == name)


def source(rendering, name):
    return next(volume for volume in pod(rendering)["volumes"] if volume["name"] == name)


def without(entries, name):
    entries[:] = [entry for entry in entries if entry["name"] != name]


def ask_elsewhere(rendering):
    container(rendering)["startupProbe"].update(grpc={"port": 50052}, failureThreshold=1)


def leave_out(rendering, name):
    without(container(rendering)["volumeMounts"], name)
    without(pod(rendering)["volumes"], name)


def close_files(rendering):
    pod(rendering)["securityContext"].pop("fsGroup")
    source(rendering, "erasure")["secret"]["defaultMode"] = 0o400


def listen_on_loopback(rendering):
    setting(rendering, "GOLDBOOK_LISTEN")["value"] = "127.0.0.1:50051"
    container(rendering)["startupProbe"]["failureThreshold"] = 1


def password(rendering, kind="Deployment"):
    return setting(rendering, "PGPASSWORD", kind)["valueFrom"]["secretKeyRef"]


MUTATIONS = [
    # What is not understood.
    ("fromWhere", lambda r: setting(r, "GOLDBOOK_LANES").update(fromWhere={})),
    ("its source", lambda r: setting(r, "K8S_POD_NAME").update(valueFrom={"resourceFieldRef": {"resource": "limits.cpu"}})),
    ("its source", lambda r: password(r).update(optional=True)),
    ("the volume", lambda r: source(r, "erasure").update(secret=None, hostPath={"path": "/etc"})),
    ("readinessProbe", lambda r: container(r).update(readinessProbe={"tcpSocket": {"port": 50051}})),
    ("initContainers", lambda r: pod(r).update(initContainers=[])),
    ("lifecycle", lambda r: container(r)["lifecycle"]["preStop"].update(exec={"command": ["sleep", "5"]})),
    # What does not fit.
    ("has no port metrics", lambda r: container(r)["livenessProbe"]["httpGet"].update(port="metrics")),
    ("has no word", lambda r: password(r).update(key="word")),
    ("nobody makes", lambda r: source(r, "erasure")["secret"].update(secretName="goldbook-keys")),
    ("nothing mounts config", lambda r: without(container(r)["volumeMounts"], "config")),
    ("must not run as root", lambda r: pod(r)["securityContext"].update(runAsUser=0)),
    ("has no liveness probe", lambda r: container(r).pop("livenessProbe")),
    # What does not work.
    ("--no-such-flag", lambda r: container(r, "Job")["args"].append("--no-such-flag")),
    ("--no-such-flag", lambda r: container(r)["args"].append("--no-such-flag")),
    ("--no-such-flag", lambda r: container(r, "CronJob")["args"].append("--no-such-flag")),
    ("password", lambda r: password(r, "Job").update(name="goldbook-service")),
    ("goldbook.toml", lambda r: leave_out(r, "config")),
    ("erasure-keys", close_files),
    ("the startup probe fails", ask_elsewhere),
    ("the startup probe fails", listen_on_loopback),
    ("the liveness probe fails", lambda r: container(r)["livenessProbe"]["httpGet"].update(path="/live")),
    ("the liveness probe fails", lambda r: container(r)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("did not end within 0 s", lambda r: pod(r).update(terminationGracePeriodSeconds=5)),
]
