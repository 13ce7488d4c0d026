"""Tries each rule on a rendering that is broken. A rule that finds nothing there would find nothing ever."""

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
    ("references_are_whole", lambda r: setting(r, "GOLDBOOK_DATABASE_URL")["valueFrom"]["secretKeyRef"].pop("key")),
    ("references_are_whole", lambda r: setting(r, "GOLDBOOK_DATABASE_URL")["valueFrom"]["secretKeyRef"].update(name="")),
    ("references_are_whole", lambda r: pod(r)["volumes"].pop(0)),
    ("references_are_whole", lambda r: pod(r)["volumes"][0]["secret"].update(defaultMode=0o644)),
    ("references_are_whole", lambda r: pod(r)["volumes"][0]["secret"].pop("items")),
    ("references_are_whole", lambda r: container(r)["volumeMounts"][0].pop("readOnly")),
    ("references_are_whole", lambda r: setting(r, "GOLDBOOK_TLS_KEY").update(value="/etc/goldbook/tls/other.key")),
    ("variables_are_sound", add_variable("GOLDBOOK_LANES", "3")),
    ("variables_are_sound", lambda r: container(r)["env"].insert(0, {"name": "A", "value": "$(K8S_POD_UID)"})),
    ("variables_are_sound", lambda r: setting(r, "OTEL_RESOURCE_ATTRIBUTES").update(value="a=b")),
    ("replicas_are_probed", lambda r: container(r).pop("livenessProbe")),
    ("replicas_are_probed", lambda r: container(r).update(readinessProbe={"grpc": {"port": 50051}})),
    ("replicas_are_probed", lambda r: container(r)["livenessProbe"]["httpGet"].update(path="/readyz")),
    ("replicas_are_probed", lambda r: container(r)["startupProbe"].update(failureThreshold=3)),
    ("replicas_are_probed", lambda r: container(r)["readinessProbe"]["httpGet"].update(port="grpc")),
    ("replicas_end_in_order", lambda r: pod(r).update(terminationGracePeriodSeconds=28)),
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
    (
        "network_policies_select_all_pods",
        lambda r: r.one("NetworkPolicy", "-migration")["metadata"]["annotations"].update({"helm.sh/hook-weight": "5"}),
    ),
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
    ("ports_meet", lambda r: spec(r, "ServiceMonitor")["endpoints"][0].update(port="metrics")),
    ("ports_meet", lambda r: spec(r, "GRPCRoute")["rules"][0]["backendRefs"][0].update(port=1)),
    ("ports_meet", lambda r: spec(r, "NetworkPolicy")["ingress"][0]["ports"][0].update(port="http")),
    ("the_owner_migrates_alone", lambda r: container(r)["args"].remove("--no-migrate")),
    (
        "the_owner_migrates_alone",
        lambda r: container(r)["env"].append(setting(r, "GOLDBOOK_OWNER_DATABASE_URL", "Job")),
    ),
    ("the_owner_migrates_alone", lambda r: setting(r, "GOLDBOOK_OWNER_DATABASE_URL", "Job").update(name="OTHER")
     or setting(r, "OTHER", "Job")["valueFrom"]["secretKeyRef"].update(name="other")),
    ("the_owner_migrates_alone", lambda r: r.one("Job")["metadata"].pop("annotations")),
    ("the_owner_migrates_alone", lambda r: pod(r, "Job").update(serviceAccountName="loyalty")),
    ("audits_come_by_schedule", lambda r: spec(r, "CronJob").update(concurrencyPolicy="Allow")),
    ("audits_come_by_schedule", lambda r: container(r, "CronJob").update(args=["audit", "--repair"])),
    ("audits_come_by_schedule", lambda r: spec(r, "CronJob")["jobTemplate"]["spec"].pop("podFailurePolicy")),
    ("other_kinds_have_what_they_need", lambda r: spec(r, "Certificate").update(secretName="other")),
    ("other_kinds_have_what_they_need", lambda r: spec(r, "Certificate")["issuerRef"].update(name="")),
    ("other_kinds_have_what_they_need", lambda r: spec(r, "ServiceMonitor")["endpoints"][0].update(path="/")),
    ("other_kinds_have_what_they_need", lambda r: spec(r, "GRPCRoute")["parentRefs"][0].pop("name")),
    ("other_kinds_have_what_they_need", lambda r: spec(r, "BackendTLSPolicy")["validation"].pop("hostname")),
    (
        "dashboards_and_alerts_are_copies",
        lambda r: r.objects.append(
            {
                "kind": "ConfigMap",
                "metadata": r.one("Service")["metadata"]
                | {"labels": {COMPONENT: "dashboards"}},
                "data": {"strange.json": "{}"},
            }
        ),
    ),
]


def missed(everything):
    """Faults of the rules themselves: what they do not find."""
    for number, (name, break_it) in enumerate(MUTATIONS):
        function = next(function for function in RULES if function.__name__ == name)
        broken = everything.copy()
        break_it(broken)
        if broken.objects == everything.objects:
            yield f"mutation {number} of {name} changes nothing"
        elif not list(function(broken)):
            yield f"{name} would miss mutation {number}"
    for function in RULES:
        if function.__name__ not in [name for name, _ in MUTATIONS]:
            yield f"{function.__name__} is tried on nothing that is broken"
