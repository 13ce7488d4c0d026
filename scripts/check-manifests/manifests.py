"""Reads the pods of rendered manifests. What it does not understand is a fault, so that nothing is passed over in silence."""

import dataclasses
import re

import yaml

from faults import Fault

# What is for the cluster alone: where a pod runs, who fetches its image, what it may use.
PLACING = {
    "serviceAccountName", "imagePullSecrets", "topologySpreadConstraints", "tolerations", "affinity", "nodeSelector",
    "priorityClassName",
}  # fmt: skip
POD = PLACING | {
    "automountServiceAccountToken", "enableServiceLinks", "restartPolicy", "securityContext",
    "terminationGracePeriodSeconds", "containers", "volumes",
}  # fmt: skip
POD_SECURITY = {"runAsNonRoot", "runAsUser", "runAsGroup", "fsGroup", "fsGroupChangePolicy", "seccompProfile"}
CONTAINER = {
    "name", "image", "imagePullPolicy", "command", "args", "env", "ports", "securityContext", "resources", "volumeMounts",
    "startupProbe", "livenessProbe", "readinessProbe", "lifecycle",
}  # fmt: skip
# A seccomp profile is the runtime's, so it is not tried here.
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation", "privileged", "readOnlyRootFilesystem", "runAsNonRoot", "runAsUser", "runAsGroup",
    "capabilities", "seccompProfile",
}  # fmt: skip
PROBES = ("startup", "liveness", "readiness")
PROBE_NUMBERS = {
    "initialDelaySeconds": 0, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1,
}  # fmt: skip


@dataclasses.dataclass
class Image:
    """What the image itself is set to, see Dockerfile."""

    user: int = 65532
    group: int = 65532
    entrypoint: tuple = ("/usr/bin/goldbook",)
    command: tuple = ("serve",)
    directory: str = "/home/goldbook"
    env: tuple = (("GOLDBOOK_LISTEN", "0.0.0.0:50051"),)


@dataclasses.dataclass
class Mount:
    """A volume where the container has it. `files` is None where it can be written to, as an emptyDir."""

    path: str
    files: dict | None


@dataclasses.dataclass
class Probe:
    kind: str
    port: int
    # The path of httpGet, the service of grpc.
    asked: str
    initialDelaySeconds: int
    periodSeconds: int
    timeoutSeconds: int
    failureThreshold: int
    successThreshold: int


@dataclasses.dataclass
class Pod:
    title: str
    command: list
    env: dict
    directory: str
    user: int
    group: int
    # The group that files of volumes belong to.
    files_group: int | None
    is_read_only: bool
    mounts: list
    probes: dict
    # Before SIGTERM, and until SIGKILL in all.
    pause_seconds: int
    grace_seconds: int


def only(where, mapping, known):
    for name in mapping:
        if name not in known:
            raise Fault(f"{where}: {name} is not understood")
    return mapping


def must_be(where, mapping, **wanted):
    for name, value in wanted.items():
        if mapping.get(name) != value:
            raise Fault(f"{where}: {name} is {mapping.get(name)}, and only {value} is understood")


class Rendering:
    """The objects of one golden file."""

    def __init__(self, name, objects):
        self.name = name
        self.objects = objects

    @classmethod
    def read(cls, path):
        return cls(path.stem, [item for item in yaml.safe_load_all(path.read_text()) if item])

    def of_kind(self, kind):
        return [item for item in self.objects if item["kind"] == kind]

    def pods(self, kind, supplies):
        return [self.read_pod(item, supplies) for item in self.of_kind(kind)]

    def template(self, item):
        spec = item["spec"]
        if item["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        return spec["template"]["spec"]

    def read_pod(self, item, supplies):
        title = f"{item['kind']} {item['metadata']['name']}"
        spec = only(title, self.template(item), POD)
        must_be(title, spec, automountServiceAccountToken=False, enableServiceLinks=False)
        if len(spec["containers"]) != 1:
            raise Fault(f"{title}: it has more containers than one")
        container = only(title, spec["containers"][0], CONTAINER)
        security = read_security(title, spec, container)
        env = read_env(title, item, container, supplies)
        if item["kind"] == "Deployment":
            for kind in PROBES:
                if f"{kind}Probe" not in container:
                    raise Fault(f"{title}: it has no {kind} probe")
        command = list(container.get("command") or Image.entrypoint)
        # An image's own arguments are for its own entry point.
        args = container.get("args", [] if "command" in container else list(Image.command))
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        return Pod(
            title=title,
            command=[expand(word, env) for word in [*command, *args]],
            env=env,
            directory=Image.directory,
            **security,
            mounts=read_mounts(title, spec, container, supplies),
            probes={
                kind: read_probe(f"{title}: {kind}Probe", container[f"{kind}Probe"], ports)
                for kind in PROBES
                if f"{kind}Probe" in container
            },
            pause_seconds=read_pause(title, container.get("lifecycle", {})),
            grace_seconds=spec.get("terminationGracePeriodSeconds", 30),
        )


def read_security(title, spec, container):
    of_pod = only(f"{title}: securityContext", spec.get("securityContext", {}), POD_SECURITY)
    own = only(f"{title}: the container's securityContext", container.get("securityContext", {}), CONTAINER_SECURITY)
    must_be(title, own, allowPrivilegeEscalation=False, privileged=False, capabilities={"drop": ["ALL"]})
    both = of_pod | own
    user = both.get("runAsUser", Image.user)
    if both.get("runAsNonRoot") and user == 0:
        raise Fault(f"{title}: it must not run as root, and would")
    return {
        "user": user,
        "group": both.get("runAsGroup", Image.group if "runAsUser" not in both else 0),
        "files_group": of_pod.get("fsGroup"),
        "is_read_only": own.get("readOnlyRootFilesystem", False),
    }


def expand(text, known):
    """A variable can use those before it; two dollars are one, and an unknown name stays as it is."""
    written = r"\$\$|\$\(([A-Za-z_.-][A-Za-z0-9_.-]*)\)"
    return re.sub(written, lambda found: known.get(found[1], found[0]) if found[1] else "$", text)


def read_env(title, item, container, supplies):
    # Each container has these of the cluster's own service.
    env = dict(Image.env) | {"HOSTNAME": "goldbook-0", "KUBERNETES_SERVICE_HOST": "10.20.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    fields = {
        "metadata.name": "goldbook-0",
        "metadata.uid": "00000000-0000-4000-8000-000000000000",
        "metadata.namespace": item["metadata"]["namespace"],
        "spec.nodeName": "node-0",
    }
    for entry in container.get("env", []):
        where = f"{title}: {entry['name']}"
        only(where, entry, {"name", "value", "valueFrom"})
        if "valueFrom" not in entry:
            env[entry["name"]] = expand(entry.get("value", ""), env)
            continue
        match entry["valueFrom"]:
            case {"secretKeyRef": {"name": name, "key": key, **others}} if not others:
                env[entry["name"]] = supplies.get(where, "Secret", name, key).decode()
            case {"configMapKeyRef": {"name": name, "key": key, **others}} if not others:
                env[entry["name"]] = supplies.get(where, "ConfigMap", name, key).decode()
            case {"fieldRef": {"fieldPath": path, **others}} if path in fields and not others:
                env[entry["name"]] = fields[path]
            case source:
                raise Fault(f"{where}: its source {source} is not understood")
    return env


def read_mounts(title, spec, container, supplies):
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    mounts = []
    for mount in container.get("volumeMounts", []):
        where = f"{title}: {mount['mountPath']}"
        only(where, mount, {"name", "mountPath", "readOnly"})
        if mount["name"] not in volumes:
            raise Fault(f"{where}: there is no volume {mount['name']}")
        files = read_volume(where, volumes[mount["name"]], supplies)
        if files is None and mount.get("readOnly"):
            raise Fault(f"{where}: it is empty, and can only be read")
        mounts.append(Mount(mount["mountPath"], files))
    unused = volumes.keys() - {mount["name"] for mount in container.get("volumeMounts", [])}
    if unused:
        raise Fault(f"{title}: nothing mounts {', '.join(sorted(unused))}")
    return mounts


def read_volume(where, volume, supplies):
    """The files of a volume, with their modes; None for an emptyDir."""
    match {name: value for name, value in volume.items() if name != "name"}:
        case {"emptyDir": {**others}, **more} if not more and not others:
            return None
        case {"configMap": {"name": name, **source}, **more} if not more:
            kind = "ConfigMap"
        case {"secret": {"secretName": name, **source}, **more} if not more:
            kind = "Secret"
        case other:
            raise Fault(f"{where}: the volume {other} is not understood")
    only(where, source, {"items", "defaultMode"})
    items = source.get("items") or [{"key": key, "path": key} for key in supplies.keys(where, kind, name)]
    mode = source.get("defaultMode", 0o644)
    return {
        item["path"]: (supplies.get(where, kind, name, item["key"]), item.get("mode", mode))
        for item in items
        if only(where, item, {"key", "path", "mode"})
    }


def read_probe(where, probe, ports):
    numbers = {name: probe.get(name, number) for name, number in PROBE_NUMBERS.items()}
    match {name: value for name, value in probe.items() if name not in PROBE_NUMBERS}:
        case {"httpGet": {"path": path, "port": port, **others}, **more} if not more and not others:
            kind, asked = "http", path
        case {"grpc": {"port": int() as port, **others}, **more} if not more and others.keys() <= {"service"}:
            kind, asked = "grpc", others.get("service") or ""
        case other:
            raise Fault(f"{where}: {other} is not understood")
    if isinstance(port, str):
        if port not in ports:
            raise Fault(f"{where}: the container has no port {port}")
        port = ports[port]
    return Probe(kind, port, asked, **numbers)


def read_pause(title, lifecycle):
    match lifecycle:
        case {"preStop": {"sleep": {"seconds": int() as seconds, **others}, **more}, **most} if not (others or more or most):
            return seconds
        case {**others} if not others:
            return 0
        case other:
            raise Fault(f"{title}: the lifecycle {other} is not understood")
