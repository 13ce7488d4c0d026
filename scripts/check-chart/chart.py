"""The chart as its checks see it: rendered objects, with the values that they were made from."""

import contextlib
import copy
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "charts/goldbook"
GOLDEN = CHART / "ci/golden"
RELEASE, NAMESPACE = "book", "shop"

# What changes with dashboards and alerts alone. It is compared with their files, and not with golden ones.
COPIED = ("templates/dashboards.yaml", "templates/prometheusrule.yaml")

SAMPLE_ALERTS = """\
# Braces are for Prometheus.
groups:
  - name: sample
    rules:
      - record: sample:up
        expr: up
      # Named as the checks name what they switch off to see whether that does anything.
      - alert: other
        expr: up{job="goldbook"} == 0
        annotations:
          summary: "{{ $labels.instance }} is away for {{ $value | humanizeDuration }}"
          runbook_url: docs/runbooks/sample.md
"""
SAMPLE_DASHBOARD = '{\n  "title": "Sample {{instance}}",\n\n  "panels": [{"expr": "a < b & c"}]\n}\n'


@dataclasses.dataclass
class Rendering:
    """What one file of values makes."""

    name: str
    values: dict
    objects: list

    def copy(self):
        return copy.deepcopy(self)

    def of_kind(self, *kinds):
        return [item for item in self.objects if item["kind"] in kinds]

    def one(self, kind, name_end=""):
        found = [item for item in self.of_kind(kind) if item["metadata"]["name"].endswith(name_end)]
        return found[0] if found else None

    def pods(self):
        """Each object that makes pods, with their template."""
        for item in self.objects:
            spec = item.get("spec", {})
            if item["kind"] in ("Deployment", "Job"):
                yield item, spec["template"]
            elif item["kind"] == "CronJob":
                yield item, spec["jobTemplate"]["spec"]["template"]

    def containers(self):
        for item, template in self.pods():
            spec = template["spec"]
            for container in spec.get("initContainers", []) + spec["containers"]:
                yield item, container


def title(item):
    return f"{item['kind']} {item['metadata']['name']}"


def values_files():
    return sorted((CHART / "ci").glob("*-values.yaml"))


def run_helm(*arguments):
    """Helm's output and what went wrong, one of which is empty."""
    helm = os.environ["HELM"]
    done = subprocess.run([helm, *map(str, arguments)], capture_output=True, text=True, check=False)
    return (done.stdout, "") if done.returncode == 0 else ("", done.stdout + done.stderr)


def template(values_file, *arguments, chart=CHART):
    return run_helm("template", RELEASE, chart, "--namespace", NAMESPACE, "--values", values_file, *arguments)


def merge(below, above):
    """Values as Helm merges them: a null removes what is below it."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    merged = dict(below)
    for name, value in above.items():
        merged[name] = merge(below.get(name), value)
        if value is None:
            del merged[name]
    return merged


class Loader(yaml.SafeLoader):
    """Refuses a name that stands twice, as Kubernetes does."""

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(name, deep=True) for name, _ in node.value]
        if len(set(names)) != len(names):
            raise yaml.constructor.ConstructorError(None, None, f"a name stands twice in {names}", node.start_mark)
        return super().construct_mapping(node, deep)


def load(values_file, *arguments, chart=CHART):
    text, fault = template(values_file, *arguments, chart=chart)
    if fault:
        raise SystemExit(f"{values_file.name} is not rendered: {fault}")
    values = merge(yaml.safe_load((chart / "values.yaml").read_text()), yaml.safe_load(values_file.read_text()))
    objects = [item for item in yaml.load_all(text, Loader=Loader) if item]
    name = values_file.name.removesuffix("-values.yaml")
    return Rendering(name, values, objects), text


def golden_text(text):
    """What is rendered, without what is a copy of other files."""
    parts = re.split(r"^---\n", text, flags=re.MULTILINE)
    kept = [part for part in parts if part.strip() and not any(f"# Source: goldbook/{path}" in part for path in COPIED)]
    return "".join("---\n" + part.rstrip("\n") + "\n" for part in kept)


def strings(value):
    """All texts in a value, names included."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


@contextlib.contextmanager
def sample():
    """A copy of the chart, with dashboards and alerts that are hard to copy in place of its own."""
    with tempfile.TemporaryDirectory() as directory:
        chart = pathlib.Path(directory) / "goldbook"
        shutil.copytree(CHART, chart)
        for name in ("dashboards", "rules"):
            shutil.rmtree(chart / name, ignore_errors=True)
            (chart / name).mkdir()
        (chart / "dashboards/sample_of-one.json").write_text(SAMPLE_DASHBOARD)
        (chart / "dashboards/second.json").write_text("{}\n")
        (chart / "rules/goldbook.yaml").write_text(SAMPLE_ALERTS)
        yield chart
