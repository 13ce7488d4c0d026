"""What must hold for the files of the chart: README, values and schema agree, and settings are those of Goldbook."""

import json
import re
import tomllib

import yaml

from chart import CHART, REPOSITORY

# What Helm gives to a chart that is part of another.
OF_HELM = {"global"}
# Variables that libraries of the service read, and those that only make others.
OF_OTHERS = re.compile(r"PG(PASSWORD|SSLMODE|SSLROOTCERT|SSLCERT|SSLKEY)|OTEL_[A-Z_]+|RUST_BACKTRACE|K8S_[A-Z_]+")


def leaves(values, schema, path=""):
    """The values that are set as a whole, with their defaults: what has no names of its own in the schema."""
    if "properties" not in schema:
        yield path, values
        return
    for name, inner in values.items():
        yield from leaves(inner, schema["properties"].get(name, {}), f"{path}.{name}".lstrip("."))


def schema_faults(values, schema, path=""):
    """Names that are in one of the two alone, and places where the schema lets any name pass."""
    if "properties" not in schema:
        if isinstance(values, dict) and schema.get("additionalProperties") in (None, False) and path != "affinity":
            yield f"values.schema.json does not say what {path} may hold"
        return
    if schema.get("additionalProperties") is not False:
        yield f"values.schema.json lets any name pass in {path or 'the values'}"
    known = set(schema["properties"]) - (OF_HELM if not path else set())
    for name in sorted(known ^ set(values)):
        where = "values.yaml" if name in known else "values.schema.json"
        yield f"{where} lacks {path}.{name}".replace(" .", " ")
    for name in sorted(known & set(values)):
        yield from schema_faults(values[name], schema["properties"][name], f"{path}.{name}".lstrip("."))


def readme_faults(values, schema, readme):
    """What the table of values says, against the defaults."""
    _, _, section = readme.partition("\n## Values\n")
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]*)` \| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    told = {path: default for path, default, _ in rows}
    if len(told) != len(rows):
        yield "README.md tells a value twice"
    known = dict(leaves(values, schema))
    for path in sorted(known.keys() ^ told.keys()):
        yield f"README.md lacks {path}" if path in known else f"README.md tells {path}, which is no value"
    for path in known.keys() & told.keys():
        if json.loads(told[path]) != known[path]:
            yield f"README.md says that {path} is {told[path]} by default, and it is {json.dumps(known[path])}"
    for path, _, what in rows:
        if not what.strip():
            yield f"README.md does not say what {path} sets"


def values_faults():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    readme = (CHART / "README.md").read_text()
    yield from schema_faults(values, schema)
    yield from readme_faults(values, schema, readme)
    # The same checks must find what is wrong.
    broken = [
        schema_faults(values | {"new": 1}, schema),
        schema_faults({name: value for name, value in values.items() if name != "tls"}, schema),
        schema_faults(values, schema | {"additionalProperties": True}),
        readme_faults(values | {"new": 1}, schema, readme),
        readme_faults(values, schema, readme.replace("| `replicas` | `2` |", "| `replicas` | `3` |")),
        readme_faults(values, schema, readme.replace("| `replicas` |", "| `replica` |")),
    ]
    for number, found in enumerate(broken):
        if not list(found):
            yield f"the comparison of values would miss fault {number}"


def version_faults():
    cargo = tomllib.loads((REPOSITORY / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    for name in ("version", "appVersion"):
        if chart[name] != cargo:
            yield f"Chart.yaml: {name} is {chart[name]}, and Cargo.toml has {cargo}"


def sources(command):
    """The files that declare a subcommand's flags: its own, and those with flags that several share."""
    root = REPOSITORY / "src/cli"
    yield from root.glob(f"{command}.rs")
    yield from root.glob(f"{command}/**/*.rs")
    yield from root.glob("*_args.rs")


def known_settings(command):
    """The flags and variables that a subcommand declares, and those that README.md lists beside them."""
    text = "\n".join(path.read_text() for path in sources(command))
    variables = set(re.findall(r'env = "([A-Z_]+)"', text))
    flags = set(re.findall(r'\blong = "([a-z-]+)"', text))
    for field in re.findall(r"#\[arg\((?:[^\]]*\blong\b(?! =)[^\]]*)\)\]\s*(?:pub(?:\([a-z]+\))? )?(\w+):", text):
        flags.add(field.replace("_", "-"))
    readme = (REPOSITORY / "README.md").read_text()
    _, _, section = readme.partition("\n## Configuration\n")
    # The table is of `serve`, and has what no flag declares, such as the log.
    if command == "serve":
        for names in re.findall(r"^\|[^|]*\|([^|]*)\|", section.partition("\n## ")[0], re.MULTILINE):
            variables |= set(re.findall(r"`([A-Z_]+)`", names))
    return flags, variables


def setting_faults(renderings):
    yield from unknown_settings(renderings)
    # A flag and a variable that are misspelt must be found.
    broken = renderings[0].copy()
    for _, container in broken.containers():
        container["args"].append("--no-migrat")
        container["env"].append({"name": "GOLDBOOK_LANE", "value": "2"})
    found = unknown_settings([broken])
    for command in {container["args"][0] for _, container in broken.containers()}:
        for wanted in (
            f"goldbook {command} has no flag --no-migrat",
            f"goldbook {command} reads no variable GOLDBOOK_LANE",
        ):
            if wanted not in found:
                yield f"the check of settings would miss that {wanted}"


def unknown_settings(renderings):
    """Flags and variables in the manifests that Goldbook does not know."""
    unknown = set()
    for rendering in renderings:
        for _, container in rendering.containers():
            command, *arguments = container["args"]
            flags, variables = known_settings(command)
            for argument in arguments:
                name = argument.removeprefix("--").partition("=")[0]
                if name not in flags:
                    unknown.add(f"goldbook {command} has no flag --{name}")
            for variable in container.get("env", []):
                name = variable["name"]
                if name not in variables and not OF_OTHERS.fullmatch(name):
                    unknown.add(f"goldbook {command} reads no variable {name}")
    return sorted(unknown)
