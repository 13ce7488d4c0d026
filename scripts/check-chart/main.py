"""Checks the Helm chart. scripts/check-chart.sh brings Helm and the schemas of Kubernetes."""

import difflib
import functools
import pathlib
import shutil
import sys
import tempfile

import kubernetes_validate
from kubernetes_validate import utils

import elsewhere
import objects
import pods
from chart import CHART, GOLDEN, golden_text, load, merge, run_helm, sample, template, values_files
from effects import effect_faults
from mutations import missed
from pages import setting_faults, values_faults, version_faults
from rules import faults

KUBERNETES = ["1.33", "1.34", "1.35", "1.36"]
# What must be refused, and a part of what is said then.
REFUSED = [
    ("a misspelt value", ["--set", "replicaCount=3"], "replicaCount"),
    ("a misspelt value inside another", ["--set", "tls.enabeld=true"], "enabeld"),
    ("a value of another kind", ["--set", "replicas=many"], "replicas"),
    ("a value out of bounds", ["--set", "serve.lanes=65"], "lanes"),
    ("no image", ["--set", "image.repository="], "image.repository"),
    ("a digest that is none", ["--set", "image.digest=latest"], "digest"),
    ("neither TLS nor a word about it", ["--set", "listen.insecure=false"], "listen.insecure"),
    ("TLS and none", ["--set", "tls.enabled=true,tls.secret.name=x"], "listen.insecure"),
    ("TLS without a certificate", ["--set", "listen.insecure=false,tls.enabled=true"], "tls.secret.name"),
    ("roots of callers without TLS", ["--set", "tls.clientCa.secret=x"], "clientCa"),
    ("an issuer without a name", ["--set", "tls.certManager.enabled=true"], "issuer.name"),
    ("nobody asked who they are", ["--set", "serve.apiKeys=false"], "serve.apiKeys"),
    ("no database", ["--set", "database.service.urlSecret.name="], "database: say where"),
    ("no database of the owner", ["--set", "database.owner.urlSecret.name="], "database.owner"),
    ("a host without a password", ["--set", "database.host=db,database.owner.urlSecret.name="], "passwordSecret"),
    ("a host with a password in it", ["--set", "database.host=u:hunter2@db"], "host"),
    ("an address with a password in it", ["--set", "telemetry.otlpEndpoint=http://u:p@collector"], "otlpEndpoint"),
    ("two ways to the password", ["--set", "database.service.passwordSecret.name=x"], "choose one"),
    ("a file with a database's URL", ["--set-string", "config.text=database_url = 'postgres://u:p@db/x'"], "secret"),
    ("two files", ["--set", "config.text=api_keys=true,config.secret.name=x"], "choose one"),
    ("a password as a value", ["--set", "extraEnv[0].name=PGPASSWORD,extraEnv[0].value=x"], "extraEnv"),
    ("a URL as a value", ["--set", "extraEnv[0].name=GOLDBOOK_DATABASE_URL,extraEnv[0].value=x"], "extraEnv"),
    (
        "headers of a collector as a value",
        ["--set", "extraEnv[0].name=OTEL_EXPORTER_OTLP_LOGS_HEADERS,extraEnv[0].value=x"],
        "extraEnv",
    ),
    ("a Service that is headless and public", ["--set", "service.headless=true,service.type=NodePort"], "headless"),
    ("metrics that are read too seldom for the alerts", ["--set", "serviceMonitor.interval=3m"], "interval"),
    ("an audit without its database", ["--set", "database.service.urlSecret.name=,config.secret.name=x"], "audit"),
    ("a label that selects", ["--set", r"podLabels.app\.kubernetes\.io/name=x"], "app.kubernetes.io/name"),
    ("a page with a star", ["--set", "serve.corsOrigins[0]=*"], "corsOrigins"),
    ("fewest above most", ["--set", "autoscaling.enabled=true,autoscaling.minReplicas=9"], "minReplicas"),
    ("a route without a gateway", ["--set", "route.enabled=true"], "parentRefs"),
    ("a route to TLS without TLS", ["--set", "route.backendTls.enabled=true"], "backendTls"),
    ("an old Kubernetes", ["--kube-version", "1.32.0"], "kubeVersion"),
]


def lint_faults():
    for path in values_files():
        _, fault = run_helm("lint", CHART, "--strict", "--values", path)
        if fault:
            yield f"helm lint with {path.name}: {fault}"


def golden_faults(texts, bless):
    if bless:
        shutil.rmtree(GOLDEN, ignore_errors=True)
        GOLDEN.mkdir()
        for name, text in texts.items():
            (GOLDEN / f"{name}.yaml").write_text(golden_text(text))
    for name in sorted({path.stem for path in GOLDEN.glob("*.yaml")} ^ texts.keys()):
        yield f"ci/golden/{name}.yaml and ci/{name}-values.yaml: one of them is missing"
    for name, text in texts.items():
        path = GOLDEN / f"{name}.yaml"
        kept = path.read_text() if path.exists() else ""
        difference = list(
            difflib.unified_diff(kept.splitlines(), golden_text(text).splitlines(), path.name, "now", lineterm="")
        )
        if difference:
            told = "\n".join(difference[:60])
            yield f"{name} renders something else; if that is meant, scripts/check-chart.sh --bless:\n{told}"


def kubernetes_fault(item, version):
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def schema_faults(renderings):
    # Each schema is read once, and not for each object.
    utils.schema_contents = functools.cache(utils.schema_contents)
    core = [
        (rendering, item)
        for rendering in renderings
        for item in rendering.objects
        if item["kind"] not in elsewhere.SPECS
    ]
    for version in KUBERNETES:
        for rendering, item in core:
            fault = kubernetes_fault(item, version)
            if fault:
                yield f"{rendering.name}: {item['kind']}: Kubernetes {version}: {fault}"
        for path in values_files():
            _, fault = template(path, "--kube-version", f"{version}.0")
            if fault:
                yield f"{path.name} on Kubernetes {version}: {fault}"
        # A schema that lets everything pass would be of no use.
        broken = next(rendering for rendering in renderings if rendering.name == "production").one("Deployment")
        if not kubernetes_fault(merge(broken, {"spec": {"replica": 2}}), version):
            yield f"the schemas of Kubernetes {version} let a field pass that does not exist"


def refusal_faults():
    minimal = CHART / "ci/minimal-values.yaml"
    for what, arguments, told in REFUSED:
        text, fault = template(minimal, *arguments)
        if text:
            yield f"{what} is not refused: {arguments}"
        elif told not in fault:
            yield f"{what} is refused without {told!r}: {fault}"
    _, fault = run_helm("template", "book", CHART)
    if "image.repository" not in fault or "database:" not in fault or "listen.insecure" not in fault:
        yield f"without values the chart does not say which it needs: {fault}"


def copy_faults():
    """Files of dashboards and alerts reach the cluster as they are, whatever stands in them."""
    with sample() as chart:
        for name in ("everything", "minimal"):
            rendering, _ = load(chart / f"ci/{name}-values.yaml", chart=chart)
            yield from objects.dashboards_and_alerts_are_copies(rendering, chart)
        rendering, _ = load(chart / "ci/everything-values.yaml", chart=chart)
        names = [item["metadata"]["name"] for item in rendering.of_kind("PrometheusRule", "ConfigMap")]
        if names != ["loyalty-book-dashboard-sample-of-one", "loyalty-book-dashboard-second", "loyalty-book"]:
            yield f"a sample of dashboards and alerts is rendered as {names}"
            return
        rendering.one("PrometheusRule")["spec"]["groups"] = []
        if not list(objects.dashboards_and_alerts_are_copies(rendering, chart)):
            yield "a rule that is lost on the way would not be missed"


def package_faults():
    """What checks the chart is not delivered with it."""
    with tempfile.TemporaryDirectory() as directory:
        _, fault = run_helm("package", CHART, "--destination", directory)
        if fault:
            yield f"helm package: {fault}"
            return
        shutil.unpack_archive(next(pathlib.Path(directory).glob("*.tgz")), directory)
        there = pathlib.Path(directory) / "goldbook"
        if (there / "ci").exists() or (there / "rules/tests").exists() or not (there / "values.schema.json").exists():
            yield "the package has what checks it, or lacks its schema"
        for name in ("dashboards", "rules"):
            if (CHART / name).exists() and not any((there / name).iterdir()):
                yield f"the package lacks {name}"


def main():
    bless = sys.argv[1:] == ["--bless"]
    if sys.argv[1:] and not bless:
        raise SystemExit("usage: scripts/check-chart.sh [--bless]")
    loaded = {rendering.name: (rendering, text) for rendering, text in map(load, values_files())}
    renderings = [rendering for rendering, _ in loaded.values()]
    checks = [
        ("lint", lint_faults()),
        ("golden files", golden_faults({name: text for name, (_, text) in loaded.items()}, bless)),
        ("what must hold", (fault for rendering in renderings for fault in faults(rendering))),
        ("the same on broken manifests", missed(loaded["everything"][0], [objects, pods, elsewhere])),
        (f"schemas of Kubernetes {KUBERNETES[0]} to {KUBERNETES[-1]}", schema_faults(renderings)),
        ("what is refused", refusal_faults()),
        ("dashboards and alerts", copy_faults()),
        ("the package", package_faults()),
        ("README.md, values.yaml and values.schema.json", values_faults()),
        ("what each value does", effect_faults()),
        ("versions", version_faults()),
        ("flags and variables of Goldbook", setting_faults(renderings)),
    ]
    failed = False
    for name, check in checks:
        found = list(check)
        print(f"{'FAILED' if found else 'ok':6} {name}", flush=True)
        for fault in found:
            print(f"       {fault}", flush=True)
        failed = failed or bool(found)
    if failed:
        raise SystemExit(1)


main()
