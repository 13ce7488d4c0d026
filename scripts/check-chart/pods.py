"""What must hold for each pod: what it may do, what it knows, how it starts and ends."""

import re

from chart import REPOSITORY, strings, title
from rules import rule

# Beyond these, a literal value of a variable whose name speaks of a secret is taken for one.
NO_SECRETS = {"GOLDBOOK_API_KEYS", "GOLDBOOK_ERASURE_KEY_FILE", "GOLDBOOK_TLS_KEY", "PGSSLKEY"}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL|HEADERS|PASSFILE")
SECRET_TEXT = re.compile(
    r"://[^/\s@]*:[^/\s@]+@|password\s*=|database_url\s*=|-----BEGIN [A-Z ]*PRIVATE KEY|gbk_live_", re.IGNORECASE
)


def seconds_of(name):
    """A constant of the service that is a number of seconds."""
    pattern = re.compile(rf"\bconst {name}: Duration = Duration::from_secs\((\d+)\);")
    sources = (path.read_text() for path in (REPOSITORY / "src").rglob("*.rs"))
    found = [int(match[1]) for source in sources for match in pattern.finditer(source)]
    if len(found) != 1:
        raise SystemExit(f"{name} is not one number of seconds in src, but {found}")
    return found[0]


# What the service may take after SIGTERM: calls under way, then what the book accepted, then metrics and spans that wait,
# then log records; and a second in which connections to the database are closed.
STOP_SECONDS = 2 * seconds_of("DRAIN_TIMEOUT") + 2 * seconds_of("FLUSH_LIMIT") + 1
# Of files of secrets, which belong to root: the group of the pod may read them, and others may not.
FILE_MODE = 0o440


@rule
def pods_are_restricted(rendering):
    for item, template in rendering.pods():
        spec = template["spec"]
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            yield f"{title(item)} may run as root"
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{title(item)} has no seccomp profile"
        for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
            if spec.get(name):
                yield f"{title(item)} has {name}"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{title(item)} gets the token of its service account"
        if spec.get("enableServiceLinks") is not False:
            yield f"{title(item)} gets variables that are named after services"
        for volume in spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{title(item)} mounts a directory of the node"


@rule
def containers_are_restricted(rendering):
    for item, container in rendering.containers():
        context = container.get("securityContext", {})
        wanted = {"privileged": False, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True}
        for name, value in (wanted | {"runAsNonRoot": True}).items():
            if context.get(name) is not value:
                yield f"{title(item)}: {name} is {context.get(name)}"
        if context.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{title(item)} has capabilities"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{title(item)}: the container has no seccomp profile"
        if context.get("runAsUser") == 0:
            yield f"{title(item)}: the container runs as root"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{title(item)} takes a port of the node"


@rule
def no_secret_is_plain(rendering):
    for item in rendering.of_kind("Secret"):
        yield f"{title(item)} is rendered"
    for item in rendering.objects:
        if any(SECRET_TEXT.search(text) for text in strings(item)):
            yield f"{title(item)} holds what looks like a secret"
    for item, container in rendering.containers():
        for variable in container.get("env", []):
            name = variable["name"]
            if "value" in variable and SECRET_NAME.search(name) and name not in NO_SECRETS:
                yield f"{title(item)}: {name} is a plain value"


@rule
def secrets_are_named_whole(rendering):
    for item, container in rendering.containers():
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef", {"name": "-", "key": "-"})
            if not (reference.get("name") and reference.get("key")):
                yield f"{title(item)}: {variable['name']} names no secret, or no key in it"
            if reference.get("optional"):
                yield f"{title(item)}: {variable['name']} may be missing"
    for item, template in rendering.pods():
        for volume in template["spec"].get("volumes", []):
            secret = volume.get("secret")
            if secret is None:
                continue
            if not secret.get("secretName") or not all(entry.get("key") for entry in secret.get("items", [{}])):
                yield f"{title(item)}: the volume {volume['name']} names no secret, or no key in it"
            if secret.get("defaultMode") != FILE_MODE:
                yield f"{title(item)}: others may read the volume {volume['name']}"


@rule
def files_are_where_they_are_looked_for(rendering):
    own = rendering.one("Deployment")["metadata"]["name"] + "-"
    made = [item["metadata"]["name"] for item in rendering.of_kind("ConfigMap")]
    for item, template in rendering.pods():
        volumes = {volume["name"]: volume for volume in template["spec"].get("volumes", [])}
        if len(volumes) != len(template["spec"].get("volumes", [])):
            yield f"{title(item)} has two volumes of one name"
        for volume in volumes.values():
            name = volume.get("configMap", {}).get("name", "")
            if name.startswith(own) and name not in made:
                yield f"{title(item)} mounts {name}, which is not there"
        for container in template["spec"]["containers"]:
            mounts = container.get("volumeMounts", [])
            if len({mount["mountPath"] for mount in mounts}) != len(mounts):
                yield f"{title(item)} mounts twice in one place"
            if set(volumes) != {mount["name"] for mount in mounts}:
                yield f"{title(item)} has volumes that are not mounted, or mounts what is no volume"
            # Files that are mounted one by one stay as they were when their secret changes.
            if any(not mount.get("readOnly") or "subPath" in mount for mount in mounts):
                yield f"{title(item)} has a mount that can be written, or never changes"
            yield from paths_without_a_file(item, container, volumes)


def paths_without_a_file(item, container, volumes):
    """A variable that names a file names one that a volume brings."""
    files = {
        f"{mount['mountPath']}/{entry['path']}"
        for mount in container.get("volumeMounts", [])
        for source in ("secret", "configMap")
        for entry in volumes.get(mount["name"], {}).get(source, {}).get("items", [])
    }
    for variable in container.get("env", []):
        path = variable.get("value", "")
        if path.startswith("/") and path not in files:
            yield f"{title(item)}: {variable['name']} names {path}, which no volume brings"


@rule
def variables_are_sound(rendering):
    for item, container in rendering.containers():
        known = []
        for variable in container.get("env", []):
            for used in re.findall(r"\$\(([^)]*)\)", variable.get("value", "")):
                if used not in known:
                    yield f"{title(item)}: {variable['name']} uses {used} before it is set"
            if variable["name"] in known:
                yield f"{title(item)} sets {variable['name']} twice"
            known.append(variable["name"])
    deployment = rendering.one("Deployment")
    variables = {entry["name"]: entry for entry in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    attributes = variables.get("OTEL_RESOURCE_ATTRIBUTES", {}).get("value", "")
    for part in ("service.instance.id=$(K8S_POD_UID)", "k8s.pod.name=$(K8S_POD_NAME)"):
        if part not in attributes.split(","):
            yield f"OTEL_RESOURCE_ATTRIBUTES has no {part}"
    if "OTEL_SERVICE_NAME" not in variables:
        yield "OTEL_SERVICE_NAME is not set"


@rule
def replicas_are_probed(rendering):
    container = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probes = {name: container.get(f"{name}Probe") for name in ("startup", "liveness", "readiness")}
    for name, probe in probes.items():
        if probe is None:
            yield f"there is no {name} probe"
            continue
        if "grpc" in probe and probe["grpc"]["port"] != ports["grpc"]:
            yield f"the {name} probe asks another port"
        if "grpc" in probe and rendering.values["tls"]["enabled"]:
            yield f"the {name} probe speaks no TLS"
        if "httpGet" in probe and probe["httpGet"]["port"] != "admin":
            yield f"the {name} probe asks another port"
        if "exec" in probe or "tcpSocket" in probe:
            yield f"the {name} probe asks nobody"
    if any(probe is None for probe in probes.values()):
        return
    if probes["liveness"].get("httpGet", {}).get("path") != "/livez":
        yield "liveness depends on the database"
    for name in ("startup", "readiness"):
        if "grpc" not in probes[name] and probes[name].get("httpGet", {}).get("path") != "/readyz":
            yield f"the {name} probe does not ask whether the replica is ready"
    budget = probes["startup"]["periodSeconds"] * probes["startup"]["failureThreshold"]
    if budget < rendering.values["database"]["waitSeconds"] + 30:
        yield "a replica is ended while it waits for its database"


@rule
def replicas_end_in_order(rendering):
    spec = rendering.one("Deployment")["spec"]["template"]["spec"]
    before_stop = spec["containers"][0].get("lifecycle", {}).get("preStop", {})
    pause = before_stop.get("sleep", {}).get("seconds", 0)
    if pause < 1 or "exec" in before_stop:
        yield "balancers have no time to hear that a replica ends"
    if spec.get("terminationGracePeriodSeconds", 30) < pause + STOP_SECONDS:
        yield "a replica is killed before it has answered"


@rule
def images_are_pinned(rendering):
    image = rendering.values["image"]
    for item, container in rendering.containers():
        if image["digest"] and not container["image"].endswith("@" + image["digest"]):
            yield f"{title(item)} does not take the image by its digest"
        if not container["image"].startswith(image["repository"]) or container["image"].endswith((":latest", ":")):
            yield f"{title(item)} takes the image {container['image']}"
        if "command" in container:
            yield f"{title(item)} does not run what the image runs"


@rule
def resources_are_bounded(rendering):
    for item, container in rendering.containers():
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})):
            yield f"{title(item)} requests no CPU or memory"
        if set(resources.get("limits", {})) != {"memory"}:
            yield f"{title(item)} has no limit of memory, or one of CPU"


@rule
def pods_are_scheduled_as_asked(rendering):
    for item, template in rendering.pods():
        for name in ("nodeSelector", "tolerations", "priorityClassName"):
            if rendering.values[name] and template["spec"].get(name) != rendering.values[name]:
                yield f"{title(item)} has not the {name} that was asked for"
        secrets = [entry["name"] for entry in template["spec"].get("imagePullSecrets", [])]
        if secrets != rendering.values["image"]["pullSecrets"]:
            yield f"{title(item)} cannot fetch its image"
