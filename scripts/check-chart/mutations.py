"""Tries each rule on a rendering that is broken. A rule that finds nothing there would find nothing ever."""

import ast
import pathlib
import sys

from rules import RULES


def pod(rendering, kind="Deployment"):
    return next(template["spec"] for item, template in rendering.pods() if item["kind"] == kind)


def container(rendering, kind="Deployment"):
    return pod(rendering, kind)["containers"][0]


def spec(rendering, kind, name_end=""):
    return rendering.one(kind, name_end)["spec"]


def labels(rendering, kind="Deployment"):
    return next(template["metadata"]["labels"] for item, template in rendering.pods() if item["kind"] == kind)


def setting(rendering, name, kind="Deployment"):
    return next(entry for entry in container(rendering, kind)["env"] if entry["name"] == name)


def add_variable(name, value, kind="Deployment"):
    return lambda r: container(r, kind)["env"].append({"name": name, "value": value})


def secret(r):
    metadata = r.one("Service")["metadata"] | {"name": "plain"}
    r.objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {}})


def reference(r):
    return setting(r, "GOLDBOOK_DATABASE_URL")["valueFrom"]["secretKeyRef"]


def copied(rendering, kind, **content):
    """An object as one of a dashboard or of alerts, without what it is found by."""
    metadata = rendering.one("Service")["metadata"] | {"labels": {COMPONENT: "dashboards"}}
    return {"kind": kind, "metadata": metadata, **content}


VERSION = "app.kubernetes.io/version"
COMPONENT = "app.kubernetes.io/component"

# The rule, and what breaks it in `everything`. Several lines of one rule break it in several places.
MUTATIONS = [
    ("pods_are_restricted", lambda r: pod(r)["securityContext"].update(runAsUser=0)),
    ("pods_are_restricted", lambda r: pod(r, "Job")["securityContext"].pop("seccompProfile")),
    ("pods_are_restricted", lambda r: pod(r, "CronJob").update(hostNetwork=True)),
    ("pods_are_restricted", lambda r: pod(r, "Job").pop("automountServiceAccountToken")),
    ("pods_are_restricted", lambda r: pod(r).pop("enableServiceLinks")),
    ("pods_are_restricted", lambda r: pod(r)["volumes"].append({"name": "node", "hostPath": {"path": "/"}})),
    ("containers_are_restricted", lambda r: container(r)["securityContext"].update(privileged=True)),
    ("containers_are_restricted", lambda r: container(r, "Job").pop("securityContext")),
    ("containers_are_restricted", lambda r: container(r, "CronJob")["securityContext"].pop("readOnlyRootFilesystem")),
    ("containers_are_restricted", lambda r: container(r)["securityContext"]["capabilities"].update(add=["NET_ADMIN"])),
    ("containers_are_restricted", lambda r: container(r)["securityContext"].update(allowPrivilegeEscalation=True)),
    ("containers_are_restricted", lambda r: container(r)["ports"][0].update(hostPort=50051)),
    ("no_secret_is_plain", add_variable("PGPASSWORD", "hunter2")),
    ("no_secret_is_plain", add_variable("GOLDBOOK_DATABASE_URL", "postgres://u:hunter2@db/goldbook", "CronJob")),
    ("no_secret_is_plain", add_variable("OPTIONS", "host=db password=hunter2", "Job")),
    ("no_secret_is_plain", lambda r: container(r)["args"].append("--database-url=postgres://u:hunter2@db/x")),
    ("no_secret_is_plain", secret),
    ("no_secret_is_plain", lambda r: r.one("Service")["metadata"]["annotations"].update(a="gbk_live_x")),
    ("secrets_are_named_whole", lambda r: reference(r).pop("key")),
    (
        "secrets_are_named_whole",
        lambda r: reference(r).update(name=""),
    ),
    ("files_are_where_they_are_looked_for", lambda r: pod(r)["volumes"].pop(0)),
    ("secrets_are_named_whole", lambda r: pod(r)["volumes"][0]["secret"].update(defaultMode=0o644)),
    ("secrets_are_named_whole", lambda r: pod(r)["volumes"][0]["secret"].pop("items")),
    ("files_are_where_they_are_looked_for", lambda r: container(r)["volumeMounts"][0].pop("readOnly")),
    (
        "files_are_where_they_are_looked_for",
        lambda r: setting(r, "GOLDBOOK_TLS_KEY").update(value="/etc/goldbook/tls/other.key"),
    ),
    ("variables_are_sound", add_variable("GOLDBOOK_LANES", "3")),
    ("variables_are_sound", lambda r: container(r)["env"].insert(0, {"name": "A", "value": "$(K8S_POD_UID)"})),
    ("variables_are_sound", lambda r: setting(r, "OTEL_RESOURCE_ATTRIBUTES").update(value="a=b")),
    ("replicas_are_probed", lambda r: container(r).pop("livenessProbe")),
    ("replicas_are_probed", lambda r: container(r).update(readinessProbe={"grpc": {"port": 50051}})),
    ("replicas_are_probed", lambda r: container(r)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("replicas_are_probed", lambda r: container(r)["startupProbe"].update(failureThreshold=3)),
    ("replicas_are_probed", lambda r: container(r)["readinessProbe"]["httpGet"].update(port="grpc")),
    ("replicas_end_in_order", lambda r: pod(r).update(terminationGracePeriodSeconds=29)),
    ("replicas_end_in_order", lambda r: container(r).pop("lifecycle")),
    ("images_are_pinned", lambda r: container(r, "CronJob").update(image="registry.example.com/goldbook:0.1.0")),
    ("images_are_pinned", lambda r: container(r, "Job").update(command=["sh"])),
    ("resources_are_bounded", lambda r: container(r)["resources"]["limits"].update(cpu="1")),
    ("resources_are_bounded", lambda r: container(r, "Job").pop("resources")),
    ("pods_are_scheduled_as_asked", lambda r: pod(r, "Job").pop("tolerations")),
    ("pods_are_scheduled_as_asked", lambda r: pod(r, "CronJob").pop("imagePullSecrets")),
    ("objects_are_named_and_labelled", lambda r: r.one("Service")["metadata"].pop("namespace")),
    ("objects_are_named_and_labelled", lambda r: r.one("Job")["metadata"]["labels"].pop(VERSION)),
    ("objects_are_named_and_labelled", lambda r: r.objects.append(r.one("CronJob"))),
    ("objects_are_named_and_labelled", lambda r: r.one("CronJob")["metadata"].update(name="a" * 53)),
    ("switches_are_obeyed", lambda r: r.objects.remove(r.one("PodDisruptionBudget"))),
    ("switches_are_obeyed", lambda r: r.objects.remove(r.one("Certificate"))),
    ("selectors_never_change", lambda r: spec(r, "Deployment")["selector"]["matchLabels"].update({VERSION: "0.1.0"})),
    ("selectors_never_change", lambda r: labels(r).pop(COMPONENT)),
    ("selectors_never_change", lambda r: spec(r, "Service")["selector"].update({VERSION: "0.1.0"})),
    ("selectors_match_the_replicas_alone", lambda r: spec(r, "Service")["selector"].pop(COMPONENT)),
    (
        "selectors_match_the_replicas_alone",
        lambda r: spec(r, "PodDisruptionBudget")["selector"]["matchLabels"].update({COMPONENT: "audit"}),
    ),
    ("network_policies_select_all_pods", lambda r: r.objects.remove(r.one("NetworkPolicy", "-audit"))),
    ("network_policies_select_all_pods", lambda r: spec(r, "NetworkPolicy")["egress"].pop(0)),
    ("network_policies_select_all_pods", lambda r: spec(r, "NetworkPolicy")["egress"].append({"ports": []})),
    ("network_policies_select_all_pods", lambda r: spec(r, "NetworkPolicy")["policyTypes"].remove("Egress")),
    ("network_policies_select_all_pods", lambda r: spec(r, "NetworkPolicy", "-migration")["egress"].pop()),
    (
        "network_policies_select_all_pods",
        lambda r: setting(r, "OTEL_EXPORTER_OTLP_ENDPOINT").update(value="http://collector.monitoring:4319"),
    ),
    (
        "network_policies_select_all_pods",
        lambda r: r.one("NetworkPolicy", "-migration")["metadata"]["annotations"].update({"helm.sh/hook-weight": "5"}),
    ),
    ("gateways_are_let_in", lambda r: spec(r, "NetworkPolicy")["ingress"][0]["from"].pop()),
    ("gateways_are_let_in", lambda r: spec(r, "GRPCRoute")["parentRefs"].append({"name": "b", "namespace": "other"})),
    ("replicas_are_replaced_one_by_one", lambda r: spec(r, "Deployment").update(replicas=2)),
    ("replicas_are_replaced_one_by_one", lambda r: spec(r, "Deployment")["strategy"].pop("rollingUpdate")),
    ("replicas_are_replaced_one_by_one", lambda r: pod(r).pop("topologySpreadConstraints")),
    (
        "replicas_are_replaced_one_by_one",
        lambda r: spec(r, "HorizontalPodAutoscaler")["scaleTargetRef"].update(name="other"),
    ),
    (
        "replicas_are_replaced_one_by_one",
        lambda r: spec(r, "HorizontalPodAutoscaler")["behavior"]["scaleDown"].update(stabilizationWindowSeconds=0),
    ),
    ("ports_meet", lambda r: container(r)["ports"][0].update(containerPort=50052)),
    ("ports_meet", lambda r: spec(r, "Service")["ports"][0].update(targetPort="http")),
    ("ports_meet", lambda r: spec(r, "Service", "-admin").update(type="LoadBalancer")),
    ("ways_lead_to_services", lambda r: spec(r, "ServiceMonitor")["endpoints"][0].update(port="metrics")),
    ("ways_lead_to_services", lambda r: spec(r, "GRPCRoute")["rules"][0]["backendRefs"][0].update(port=1)),
    ("ports_meet", lambda r: spec(r, "NetworkPolicy")["ingress"][0]["ports"][0].update(port="http")),
    ("the_owner_migrates_alone", lambda r: container(r)["args"].remove("--no-migrate")),
    (
        "the_owner_migrates_alone",
        lambda r: container(r)["env"].append(setting(r, "GOLDBOOK_OWNER_DATABASE_URL", "Job")),
    ),
    (
        "the_owner_migrates_alone",
        lambda r: (
            setting(r, "GOLDBOOK_OWNER_DATABASE_URL", "Job").update(name="OTHER")
            or setting(r, "OTHER", "Job")["valueFrom"]["secretKeyRef"].update(name="other")
        ),
    ),
    ("the_owner_migrates_alone", lambda r: r.one("Job")["metadata"].pop("annotations")),
    ("the_owner_migrates_alone", lambda r: pod(r, "Job").update(serviceAccountName="loyalty")),
    ("audits_come_by_schedule", lambda r: spec(r, "CronJob").update(concurrencyPolicy="Allow")),
    ("audits_come_by_schedule", lambda r: container(r, "CronJob").update(args=["audit", "--repair"])),
    ("audits_come_by_schedule", lambda r: spec(r, "CronJob")["jobTemplate"]["spec"].pop("podFailurePolicy")),
    ("certificates_are_for_the_service", lambda r: spec(r, "Certificate").update(secretName="other")),
    ("certificates_are_for_the_service", lambda r: spec(r, "Certificate")["issuerRef"].update(name="")),
    ("prometheus_reads_the_metrics", lambda r: spec(r, "ServiceMonitor")["endpoints"][0].update(path="/")),
    ("gateways_are_told_all", lambda r: spec(r, "GRPCRoute")["parentRefs"][0].pop("name")),
    ("gateways_are_told_all", lambda r: spec(r, "BackendTLSPolicy")["validation"].pop("hostname")),
    (
        "dashboards_and_alerts_are_copies",
        lambda r: r.objects.append(copied(r, "ConfigMap", data={"strange.json": "{}"})),
    ),
    ("switches_are_obeyed", lambda r: r.objects.remove(r.one("BackendTLSPolicy"))),
    ("switches_are_obeyed", lambda r: r.objects.remove(r.one("ServiceAccount"))),
    (
        "network_policies_select_all_pods",
        lambda r: spec(r, "NetworkPolicy", "-audit")["ingress"].append({"ports": [{}]}),
    ),
    ("audits_come_by_schedule", lambda r: spec(r, "CronJob")["jobTemplate"]["spec"].pop("activeDeadlineSeconds")),
    ("prometheus_reads_the_metrics", lambda r: spec(r, "ServiceMonitor").update(namespaceSelector={"any": True})),
    ("gateways_are_told_all", lambda r: r.one("GRPCRoute").update(apiVersion="gateway.networking.k8s.io/v1alpha2")),
    ("certificates_are_for_the_service", lambda r: spec(r, "Certificate").update(dnsNames=["goldbook.example.com"])),
    ("dashboards_and_alerts_are_copies", lambda r: r.objects.append(copied(r, "PrometheusRule", spec={"groups": []}))),
    (
        "dashboards_and_alerts_are_copies",
        lambda r: r.objects.append(copied(r, "ConfigMap", data={"a.json": "a" * 1_000_000})),
    ),
    (
        "the_owner_migrates_alone",
        add_variable("GOLDBOOK_DATABASE_URL", "postgres://goldbook_service@db/goldbook", "Job"),
    ),
    ("variables_are_sound", lambda r: setting(r, "OTEL_SERVICE_NAME").update(name="OTHER")),
    ("containers_are_restricted", lambda r: container(r)["securityContext"].update(runAsUser=0)),
    ("files_are_where_they_are_looked_for", lambda r: pod(r)["volumes"].append(pod(r)["volumes"][0])),
    (
        "files_are_where_they_are_looked_for",
        lambda r: container(r)["volumeMounts"].append(container(r)["volumeMounts"][0]),
    ),
    ("secrets_are_named_whole", lambda r: reference(r).update(optional=True)),
    (
        "files_are_where_they_are_looked_for",
        lambda r: pod(r)["volumes"].append({"name": "config-2", "configMap": {"name": "loyalty-book-config"}}),
    ),
    ("replicas_are_probed", lambda r: container(r).update(readinessProbe={"grpc": {"port": 9464}})),
    ("replicas_are_probed", lambda r: container(r).update(readinessProbe={"tcpSocket": {"port": 50051}})),
    ("images_are_pinned", lambda r: container(r).update(image="goldbook:latest")),
    ("fields_are_known_elsewhere", lambda r: spec(r, "Certificate").update(renewBfore="720h")),
    ("fields_are_known_elsewhere", lambda r: spec(r, "ServiceMonitor")["endpoints"][0].update(metricRelabeling=[])),
    ("fields_are_known_elsewhere", lambda r: spec(r, "GRPCRoute")["parentRefs"][0].update(section="https")),
    ("fields_are_known_elsewhere", lambda r: r.one("BackendTLSPolicy").update(specs={})),
    ("fields_are_known_elsewhere", lambda r: spec(r, "PrometheusRule")["groups"][0]["rules"][0].update(four="5m")),
    ("fields_are_known_elsewhere", lambda r: spec(r, "Certificate").update(usages=[{"server": "auth"}])),
]


class Trace:
    """Which lines of some files are run."""

    def __init__(self, modules):
        self.files = {module.__file__ for module in modules}
        self.lines = set()

    def __call__(self, frame, event, _):
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line":
            self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self

    def untold(self):
        """The faults that rules can tell and did not."""
        for file in sorted(self.files):
            text = pathlib.Path(file).read_text()
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Yield) and (file, node.lineno) not in self.lines:
                    line = text.splitlines()[node.lineno - 1].strip()
                    yield f"{pathlib.Path(file).name}:{node.lineno}: no mutation comes to this: {line}"


def missed(everything, modules):
    """Faults of the rules themselves: what they do not find in broken manifests."""
    trace = Trace(modules)
    for number, (name, break_it) in enumerate(MUTATIONS):
        function = next(function for function in RULES if function.__name__ == name)
        broken = everything.copy()
        break_it(broken)
        if broken == everything:
            yield f"mutation {number} of {name} changes nothing"
            continue
        sys.settrace(trace)
        found = list(function(broken))
        sys.settrace(None)
        if not found:
            yield f"{name} would miss mutation {number}"
    yield from trace.untold()
