"""Each value does something: another one renders something else, or is refused by its name."""

import json

import jsonschema
import yaml

from chart import sample, template
from pages import leaves

# One of them fits wherever a text stands that is not one of a list.
TEXTS = ["other", "errors", "31s", "5h", "0 5 * * *", "https://other.example", "0.0.0.1", "sha256:" + "1" * 64]
THINGS = [{"name": "other"}, {"name": "OTHER", "value": "other"}, 5353]
# The one that shows most comes first.
BASES = ["everything", "production", "mtls", "minimal", "tls-cert-manager"]


def others(default, schema):
    """Values that might stand there in place of the default."""
    if isinstance(default, bool):
        yield from (True, False)
    elif isinstance(default, int):
        yield from (default + 1, default - 1)
    yield from schema.get("enum", [])
    yield from TEXTS
    yield from ([text] for text in TEXTS)
    yield from ([thing] for thing in THINGS)
    yield from ({"cpu": "7"}, {"podAntiAffinity": {}})


def schema_of(path, schema):
    for name in path.split("."):
        schema = schema["properties"][name]
    return schema


def has_effect(path, default, schema, renderings, chart):
    own = schema_of(path, schema)
    # The default is among them: a base may have something else.
    fitting = [other for other in others(default, own) if jsonschema.Draft7Validator(own).is_valid(other)]
    for base, rendered in renderings.items():
        for other in fitting[:3]:
            text, fault = template(
                chart / f"ci/{base}-values.yaml", "--set-json", f"{path}={json.dumps(other)}", chart=chart
            )
            if (text and text != rendered) or path in fault:
                return True
    return False


def idle_values(chart, only=None):
    values = yaml.safe_load((chart / "values.yaml").read_text())
    schema = json.loads((chart / "values.schema.json").read_text())
    renderings = {base: template(chart / f"ci/{base}-values.yaml", chart=chart)[0] for base in BASES}
    for path, default in leaves(values, schema):
        if only in (None, path) and not has_effect(path, default, schema, renderings, chart):
            yield path


def effect_faults():
    with sample() as chart:
        for path in idle_values(chart):
            yield f"{path} does nothing"
        # A value that no template uses must be found.
        schema = json.loads((chart / "values.schema.json").read_text())
        schema["properties"]["unused"] = {"type": "string"}
        (chart / "values.schema.json").write_text(json.dumps(schema))
        with (chart / "values.yaml").open("a") as file:
            file.write('unused: ""\n')
        if list(idle_values(chart, "unused")) != ["unused"]:
            yield "a value that does nothing would not be found"
