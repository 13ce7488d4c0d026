"""Checks docker-compose.yaml without Docker, and tells how it starts a service:

    check-compose.py check PROGRAM      finds faults; PROGRAM is a built `goldbook`, whose flags and variables count
    check-compose.py start SERVICE      prints the variables (`NAME=VALUE`), then `--`, then the command, each ended by NUL;
                                        the other containers are then this machine

Needs compose-spec and PyYAML.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from compose_spec import PyOptions

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docker-compose.yaml"
BUILT = "goldbook"


def read_services():
    """All services, with what they share put in. Ends here if the file is not as Compose's specification has it."""
    options = PyOptions()
    options.apply_merge = True
    options.from_yaml(FILE.read_text()).validate()
    return yaml.safe_load(FILE.read_text())["services"]


def read_help(program, command):
    """The flags and the variables that a command of the program tells of."""
    told = subprocess.run([program, command, "--help"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", told)), set(re.findall(r"\bGOLDBOOK_[A-Z_]+", told))


def find_image_faults(name, service):
    image = service["image"]
    if image != BUILT and not re.fullmatch(r"[a-z.]+(/[a-z-]+)+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image):
        yield f"{name}: the image {image} has no exact version, or no registry"
    if image == BUILT:
        if not (ROOT / service["build"] / "Dockerfile").is_file():
            yield f"{name}: there is no Dockerfile in {service['build']}"
        if service.get("read_only") is not True or service.get("cap_drop") != ["ALL"]:
            yield f"{name}: may write to its root file system, or has capabilities"


def find_place_faults(name, service):
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            if not (ROOT / source).exists():
                yield f"{name}: there is no {source}"
            if not volume.endswith(":ro"):
                yield f"{name}: {source} can be changed"
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"{name}: {port} is reachable from other machines"


def find_option_faults(name, service, program):
    """Flags and variables that the program does not know. A variable that it does not know would be passed over in silence."""
    # The client runs what a person says; all such commands have the same variables.
    command, *words = service.get("command", ["customer"])
    flags, variables = read_help(program, command)
    for word in words:
        if word not in flags:
            yield f"{name}: `goldbook {command}` has no {word}"
    asked = service.get("healthcheck", {}).get("test")
    if asked is not None:
        kind, path, command_of_check, *words = asked
        if (kind, path) != ("CMD", "/usr/bin/goldbook"):
            yield f"{name}: {path} of its health check is not in the image"
        known, _ = read_help(program, command_of_check)
        for word in words:
            if word.startswith("-") and word not in known:
                yield f"{name}: `goldbook {command_of_check}` has no {word}"
    for variable in service["environment"]:
        if variable.startswith("GOLDBOOK_") and variable not in variables:
            yield f"{name}: `goldbook {command}` has no {variable}"


def find_peer_faults(services):
    """Addresses of one file that have to fit what another says."""
    serving = services["goldbook"]["environment"]
    collector = yaml.safe_load((ROOT / "examples/compose/collector.yaml").read_text())
    takes = collector["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    sends = urlsplit(serving["OTEL_EXPORTER_OTLP_ENDPOINT"])
    if sends.hostname != "collector" or sends.port != urlsplit(f"//{takes}").port:
        yield f"the service sends to {sends.netloc}, and the collector takes at {takes}"
    pipelines = collector["service"]["pipelines"]
    # The service sends all three to one address, and warns each minute where one is not taken.
    for kind in ("traces", "metrics", "logs"):
        if kind not in pipelines:
            yield f"collector.yaml: the service sends {kind}, and no pipeline takes them"
    for kind, pipeline in pipelines.items():
        for part in ("receivers", "processors", "exporters"):
            for named in pipeline[part]:
                if named not in collector[part]:
                    yield f"collector.yaml: {kind} names {named}, which is not among the {part}"
    prometheus = yaml.safe_load((ROOT / "examples/compose/prometheus.yaml").read_text())
    target = prometheus["scrape_configs"][0]["static_configs"][0]["targets"]
    answers = urlsplit(f"//{serving['GOLDBOOK_ADMIN_LISTEN']}").port
    if target != [f"goldbook:{answers}"]:
        yield f"Prometheus asks {target}, and the service answers on port {answers}"
    mounted = [volume.split(":")[1] for volume in services["prometheus"]["volumes"]]
    for rules in prometheus["rule_files"]:
        if rules not in mounted:
            yield f"prometheus.yaml: {rules} is not mounted"
    hosts = [urlsplit(str(value)).hostname for service in services.values()
             for value in (service.get("environment") or {}).values() if "://" in str(value)]
    for host in hosts:
        if host not in services:
            yield f"there is no service {host}"


def check(program):
    services = read_services()
    faults = list(find_peer_faults(services))
    for name, service in services.items():
        faults.extend(find_image_faults(name, service))
        faults.extend(find_place_faults(name, service))
        if service["image"] == BUILT:
            faults.extend(find_option_faults(name, service, program))
    if faults:
        sys.exit("\n".join(faults))
    print(f"{FILE.name}: {len(services)} services, no fault")


def start(name):
    services = read_services()
    words = [f"{variable}={value}" for variable, value in services[name]["environment"].items() if value is not None]
    others = "|".join(map(re.escape, services))
    words = [re.sub(rf"(//|@)({others})\b(?=[:/])", r"\g<1>127.0.0.1", word) for word in words]
    sys.stdout.write("".join(f"{word}\0" for word in [*words, "--", *services[name].get("command", [])]))


match sys.argv[1:]:
    case ["check", program]:
        check(program)
    case ["start", name]:
        start(name)
    case _:
        sys.exit(__doc__)
