"""What must hold between objects: who selects whom, which ports meet, what has to be there first."""

import json
from urllib.parse import urlsplit

import yaml

from chart import CHART, NAMESPACE, strings, title
from rules import rule

STANDARD_LABELS = {
    f"app.kubernetes.io/{name}" for name in ("name", "instance", "component", "version", "part-of", "managed-by")
} | {"helm.sh/chart"}
SELECTOR_LABELS = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")}
# Which value makes which kinds. Objects of these kinds are there if it is on, and not there if it is off.
SWITCHES = {
    "podDisruptionBudget": {"PodDisruptionBudget"},
    "autoscaling": {"HorizontalPodAutoscaler"},
    "migration": {"Job"},
    "audit": {"CronJob"},
    "networkPolicy": {"NetworkPolicy"},
    "serviceMonitor": {"ServiceMonitor"},
    "route": {"GRPCRoute"},
}


def matches(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def variables(template):
    return {entry["name"]: entry for container in template["spec"]["containers"] for entry in container.get("env", [])}


def is_hook(item):
    return "helm.sh/hook" in item["metadata"].get("annotations", {})


@rule
def objects_are_named_and_labelled(rendering):
    seen = set()
    for item in rendering.objects:
        metadata = item["metadata"]
        if metadata.get("namespace") != NAMESPACE:
            yield f"{title(item)} is in no namespace"
        if not STANDARD_LABELS | set(rendering.values["commonLabels"]) <= set(metadata.get("labels", {})):
            yield f"{title(item)} lacks labels"
        if len(metadata["name"]) > (52 if item["kind"] == "CronJob" else 63) and item["kind"] != "ConfigMap":
            yield f"{title(item)} has too long a name"
        if (item["kind"], metadata["name"]) in seen:
            yield f"{title(item)} is there twice"
        seen.add((item["kind"], metadata["name"]))


@rule
def switches_are_obeyed(rendering):
    for value, kinds in SWITCHES.items():
        for kind in kinds:
            if bool(rendering.of_kind(kind)) is not rendering.values[value]["enabled"]:
                yield f"{value}.enabled is {rendering.values[value]['enabled']}, and {kind} is not by it"
    if bool(rendering.of_kind("Certificate")) is not rendering.values["tls"]["certManager"]["enabled"]:
        yield "tls.certManager.enabled is not obeyed"
    if bool(rendering.of_kind("BackendTLSPolicy")) is not rendering.values["route"]["backendTls"]["enabled"]:
        yield "route.backendTls.enabled is not obeyed"
    if bool(rendering.of_kind("ServiceAccount")) is not rendering.values["serviceAccount"]["create"]:
        yield "serviceAccount.create is not obeyed"


@rule
def selectors_never_change(rendering):
    deployment = rendering.one("Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    if set(selector) != SELECTOR_LABELS:
        yield f"the Deployment selects by {sorted(selector)}"
    if not matches(selector, deployment["spec"]["template"]["metadata"]["labels"]):
        yield "the Deployment does not select its pods"
    for item in rendering.of_kind("Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceMonitor"):
        spec = item["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        if set(selector.get("matchLabels", selector)) != SELECTOR_LABELS:
            yield f"{title(item)} selects by something else"


@rule
def selectors_match_the_replicas_alone(rendering):
    deployment = rendering.one("Deployment")
    labels = {title(item): template["metadata"]["labels"] for item, template in rendering.pods()}
    selectors = {title(item): item["spec"]["selector"] for item in rendering.of_kind("Service")}
    for item in rendering.of_kind("PodDisruptionBudget"):
        selectors[title(item)] = item["spec"]["selector"]["matchLabels"]
    for constraint in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
        selectors[constraint["topologyKey"]] = constraint["labelSelector"]["matchLabels"]
    for name, selector in selectors.items():
        selected = [pods for pods, own in labels.items() if matches(selector, own)]
        if selected != [title(deployment)]:
            yield f"{name} selects the pods of {selected}"


@rule
def network_policies_select_all_pods(rendering):
    if not rendering.values["networkPolicy"]["enabled"]:
        return
    for item, template in rendering.pods():
        selecting = [
            policy
            for policy in rendering.of_kind("NetworkPolicy")
            if matches(policy["spec"]["podSelector"]["matchLabels"], template["metadata"]["labels"])
        ]
        if len(selecting) != 1:
            yield f"{len(selecting)} network policies select the pods of {title(item)}"
            continue
        policy = selecting[0]
        spec = policy["spec"]
        if set(spec["policyTypes"]) != {"Ingress", "Egress"}:
            yield f"{title(policy)} leaves a direction open"
        if is_hook(item) and not is_before(policy, item):
            yield f"{title(policy)} is not there before {title(item)}"
        if item["kind"] != "Deployment" and spec["ingress"]:
            yield f"{title(policy)} lets somebody in"
        out = {port["port"] for way in spec["egress"] for port in way["ports"]}
        needed = {*rendering.values["networkPolicy"]["dns"]["ports"], rendering.values["database"]["port"]}
        collector = variables(template).get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if collector:
            needed.add(rendering.values["networkPolicy"]["otlp"]["port"] or urlsplit(collector["value"]).port)
        if not needed <= out:
            yield f"{title(policy)} does not let out to {sorted(needed - out)}"
        if any(way not in spec["egress"] for way in rendering.values["networkPolicy"]["extraEgress"]):
            yield f"{title(policy)} does not let out as was asked for"
        if not all(way.get("ports") for way in spec["egress"] + spec["ingress"]):
            yield f"{title(policy)} opens all ports"


def is_before(first, second):
    weight = "helm.sh/hook-weight"
    first, second = first["metadata"]["annotations"], second["metadata"]["annotations"]
    return first.get("helm.sh/hook") == second["helm.sh/hook"] and int(first[weight]) < int(second[weight])


@rule
def gateways_are_let_in(rendering):
    values = rendering.values["networkPolicy"]
    # Whoever names the callers names the gateways among them.
    if not values["enabled"] or values["grpc"]["from"] != [{"podSelector": {}}]:
        return
    callers = [
        peer.get("namespaceSelector", {}).get("matchLabels")
        for policy in rendering.of_kind("NetworkPolicy")
        for way in policy["spec"]["ingress"]
        if "grpc" in [port["port"] for port in way["ports"]]
        for peer in way.get("from", [])
    ]
    for route in rendering.of_kind("GRPCRoute"):
        for parent in route["spec"]["parentRefs"]:
            namespace = parent.get("namespace", NAMESPACE)
            if namespace != NAMESPACE and {"kubernetes.io/metadata.name": namespace} not in callers:
                yield f"the gateway {parent['name']} in {namespace} is not let in"


@rule
def replicas_are_replaced_one_by_one(rendering):
    spec = rendering.one("Deployment")["spec"]
    if spec["strategy"] != {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}:
        yield "an update takes a replica away before another is ready"
    if ("replicas" in spec) is rendering.values["autoscaling"]["enabled"]:
        yield "the Deployment and the autoscaler both say how many replicas there are, or neither does"
    spread = [entry["topologyKey"] for entry in spec["template"]["spec"].get("topologySpreadConstraints", [])]
    if rendering.values["topologySpread"]["enabled"] and len(spread) != 2:
        yield "replicas are not spread over zones and nodes"
    for item in rendering.of_kind("HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]
        deployment = rendering.one("Deployment")
        if target != {name: deployment[name] for name in ("apiVersion", "kind")} | {
            "name": deployment["metadata"]["name"]
        }:
            yield f"{title(item)} scales something else"
        down = item["spec"]["behavior"]["scaleDown"]
        if down["stabilizationWindowSeconds"] < 300 or down["policies"][0]["value"] != 1:
            yield f"{title(item)} scales down fast"


@rule
def ports_meet(rendering):
    container = rendering.one("Deployment")["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    env = variables(rendering.one("Deployment")["spec"]["template"])
    for name, variable in (("grpc", "GOLDBOOK_LISTEN"), ("admin", "GOLDBOOK_ADMIN_LISTEN")):
        if env.get(variable, {}).get("value", "").rpartition(":")[2] != str(ports.get(name)):
            yield f"{variable} is not the port {name}"
    services = rendering.of_kind("Service")
    for service in services:
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"{title(service)} leads to {port['targetPort']}, which no container has"
    public = [
        service for service in services if any(port["targetPort"] == "admin" for port in service["spec"]["ports"])
    ]
    if any(service["spec"]["type"] != "ClusterIP" or len(service["spec"]["ports"]) > 1 for service in public):
        yield "the admin listener can be reached from outside"
    for policy in rendering.of_kind("NetworkPolicy"):
        for way in policy["spec"]["ingress"]:
            for port in way["ports"]:
                if port["port"] not in ports:
                    yield f"{title(policy)} lets in on {port['port']}, which no container has"


@rule
def ways_lead_to_services(rendering):
    services = rendering.of_kind("Service")
    for monitor in rendering.of_kind("ServiceMonitor"):
        found = [
            item for item in services if matches(monitor["spec"]["selector"]["matchLabels"], item["metadata"]["labels"])
        ]
        names = [port["name"] for item in found for port in item["spec"]["ports"]]
        if [endpoint["port"] for endpoint in monitor["spec"]["endpoints"]] != names:
            yield f"{title(monitor)} reads {names}"
    for route in rendering.of_kind("GRPCRoute"):
        for reference in (reference for way in route["spec"]["rules"] for reference in way["backendRefs"]):
            if not any(
                service["metadata"]["name"] == reference["name"]
                and reference["port"] in [port["port"] for port in service["spec"]["ports"]]
                for service in services
            ):
                yield f"{title(route)} leads to {reference}"


@rule
def the_owner_migrates_alone(rendering):
    owner = rendering.values["database"]["owner"]
    secrets = {reference.get("name") for reference in owner.values() if isinstance(reference, dict)} - {"", None}
    for item, template in rendering.pods():
        spec = template["spec"]
        arguments = spec["containers"][0]["args"]
        has_owner = "GOLDBOOK_OWNER_DATABASE_URL" in variables(template) or bool(secrets & set(strings(spec)))
        if has_owner is not (item["kind"] == "Job"):
            yield f"{title(item)} has the owner's secret, or lacks it"
        if item["kind"] == "Deployment" and "--no-migrate" not in arguments:
            yield "replicas migrate"
        if item["kind"] == "Job":
            annotations = item["metadata"].get("annotations", {})
            if annotations.get("helm.sh/hook") != "pre-install,pre-upgrade":
                yield "the schema is not migrated before the replicas start"
            if "before-hook-creation" not in annotations.get("helm.sh/hook-delete-policy", ""):
                yield "the job of the last release is in the way"
            # What the chart makes comes after the job.
            account = rendering.values["serviceAccount"]
            known = None if account["create"] else account["name"] or "default"
            if arguments != ["migrate"] or spec.get("serviceAccountName") != known:
                yield "the job needs what is not there yet, or does something else"
            if "GOLDBOOK_DATABASE_URL" in variables(template):
                yield "the job has the service's secret"


@rule
def audits_come_by_schedule(rendering):
    arguments = {}
    for item in rendering.of_kind("CronJob"):
        spec = item["spec"]
        job = spec["jobTemplate"]["spec"]
        pod = job["template"]["spec"]
        arguments[item["metadata"]["name"].rpartition("-")[2]] = pod["containers"][0]["args"]
        if spec["concurrencyPolicy"] != "Forbid":
            yield f"{title(item)} may run twice at a time"
        if pod["restartPolicy"] != "Never" or not job.get("activeDeadlineSeconds"):
            yield f"{title(item)} may never end"
        rules = job.get("podFailurePolicy", {}).get("rules", [])
        if [way["onExitCodes"]["values"] for way in rules if way["action"] == "FailJob"] != [[1]]:
            yield f"{title(item)} is repeated although something differs"
    wanted = {"recent": ["audit", "--since-last"], "full": ["audit"]}
    audit = rendering.values["audit"]
    wanted = {name: line for name, line in wanted.items() if audit["enabled"] and audit[name]["enabled"]}
    if arguments != wanted:
        yield f"audits are {arguments}"


@rule
def certificates_are_for_the_service(rendering):
    for item in rendering.of_kind("Certificate"):
        spec = item["spec"]
        deployment = rendering.one("Deployment")["spec"]["template"]["spec"]
        mounted = [volume.get("secret", {}).get("secretName") for volume in deployment.get("volumes", [])]
        if item["apiVersion"] != "cert-manager.io/v1" or spec["secretName"] not in mounted:
            yield "the certificate is not the one that replicas have"
        if not spec["issuerRef"].get("name") or not spec["dnsNames"]:
            yield "the certificate has no issuer or no name"
        for service in rendering.of_kind("Service")[:1]:
            if f"{service['metadata']['name']}.{NAMESPACE}.svc" not in spec["dnsNames"]:
                yield "the certificate is not for the Service"


@rule
def prometheus_reads_the_metrics(rendering):
    for item in rendering.of_kind("ServiceMonitor"):
        if item["apiVersion"] != "monitoring.coreos.com/v1" or item["spec"]["endpoints"][0]["path"] != "/metrics":
            yield "the ServiceMonitor reads something else"
        if item["spec"]["namespaceSelector"] != {"matchNames": [NAMESPACE]}:
            yield "the ServiceMonitor looks elsewhere"


@rule
def gateways_are_told_all(rendering):
    for item in rendering.of_kind("GRPCRoute", "BackendTLSPolicy"):
        if item["apiVersion"] != "gateway.networking.k8s.io/v1":
            yield f"{title(item)} is of {item['apiVersion']}"
    for item in rendering.of_kind("GRPCRoute"):
        if not all(parent.get("name") for parent in item["spec"]["parentRefs"]):
            yield "the route belongs to no gateway"
    for item in rendering.of_kind("BackendTLSPolicy"):
        names = [service["metadata"]["name"] for service in rendering.of_kind("Service")]
        if item["spec"]["targetRefs"][0]["name"] not in names or not item["spec"]["validation"].get("hostname"):
            yield "the gateway does not know how to speak TLS to the service"


def wanted_rules(values, text):
    """The rules of the file, without alerts that are switched off or would fire because an audit is."""
    audit, made = values["audit"], values["prometheusRule"]
    recent, full = (audit["enabled"] and audit[name]["enabled"] for name in ("recent", "full"))
    runs = {"GoldbookAuditOld": recent, "GoldbookFullAuditOld": full, "GoldbookAuditAbsent": recent or full}
    disabled = {*made["disabled"], *(name for name, is_wanted in runs.items() if not is_wanted)}
    groups = yaml.safe_load(text)["groups"]
    for group in groups:
        group["rules"] = [one for one in group["rules"] if one.get("alert") not in disabled]
        for annotations in (one["annotations"] for one in group["rules"] if "annotations" in one):
            if made["runbookBase"] and "runbook_url" in annotations:
                annotations["runbook_url"] = f"{made['runbookBase'].rstrip('/')}/{annotations['runbook_url']}"
    return {"groups": [group for group in groups if group["rules"]]}


@rule
def dashboards_and_alerts_are_copies(rendering, chart=CHART):
    dashboards = {path.name: path.read_text() for path in sorted((chart / "dashboards").glob("*.json"))}
    if not rendering.values["dashboards"]["enabled"]:
        dashboards = {}
    found = {}
    for item in rendering.of_kind("ConfigMap"):
        if item["metadata"]["labels"].get("app.kubernetes.io/component") != "dashboards":
            continue
        found |= item["data"]
        if not rendering.values["dashboards"]["labels"].items() <= item["metadata"]["labels"].items():
            yield f"{title(item)} is not found by Grafana"
        if len(json.dumps(item)) > 1_000_000:
            yield f"{title(item)} is too large for a config map"
    if found != dashboards:
        yield f"dashboards are {sorted(found)}, and their files {sorted(dashboards)}, or they differ"
    alerts = chart / "rules/goldbook.yaml"
    wanted = [wanted_rules(rendering.values, alerts.read_text())] if alerts.exists() else []
    if not rendering.values["prometheusRule"]["enabled"]:
        wanted = []
    made = rendering.of_kind("PrometheusRule")
    if [item["spec"] for item in made] != wanted:
        yield "the PrometheusRule is not what its file says"
    for item in made:
        if not rendering.values["prometheusRule"]["labels"].items() <= item["metadata"]["labels"].items():
            yield f"{title(item)} is not found by Prometheus"
