"""Which fields the chart may write of kinds that Kubernetes itself does not have: there, a misspelt one is no error."""

from chart import title
from rules import rule

ANY = {"*": None}
METADATA = {"name": None, "namespace": None, "labels": ANY, "annotations": ANY}
RELABELING = {
    "sourceLabels": None,
    "separator": None,
    "targetLabel": None,
    "regex": None,
    "modulus": None,
    "replacement": None,
    "action": None,
}
RULE = {
    "record": None,
    "alert": None,
    "expr": None,
    "for": None,
    "keep_firing_for": None,
    "labels": ANY,
    "annotations": ANY,
}
REFERENCE = {"group": None, "kind": None, "name": None}

# What may stand in each kind's `spec`. None is a value or a list of values, and a list of objects is as one of them.
SPECS = {
    "Certificate": {
        "secretName": None,
        "duration": None,
        "renewBefore": None,
        "usages": None,
        "privateKey": {"algorithm": None, "size": None, "rotationPolicy": None},
        "dnsNames": None,
        "issuerRef": REFERENCE,
    },
    "ServiceMonitor": {
        "jobLabel": None,
        "selector": {"matchLabels": ANY},
        "namespaceSelector": {"matchNames": None},
        "endpoints": {
            "port": None,
            "path": None,
            "scheme": None,
            "interval": None,
            "scrapeTimeout": None,
            "relabelings": RELABELING,
            "metricRelabelings": RELABELING,
        },
    },
    "PrometheusRule": {"groups": {"name": None, "interval": None, "rules": RULE}},
    "GRPCRoute": {
        "parentRefs": REFERENCE | {"namespace": None, "sectionName": None, "port": None},
        "hostnames": None,
        "rules": {"backendRefs": {"name": None, "port": None}},
    },
    "BackendTLSPolicy": {
        "targetRefs": REFERENCE | {"sectionName": None},
        "validation": {"hostname": None, "caCertificateRefs": REFERENCE},
    },
}


def strange(value, known, path):
    """The paths of fields that are not known, and of objects where a value should be."""
    if isinstance(value, list):
        for inner in value:
            yield from strange(inner, known, path)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if known is None or not {name, "*"} & set(known):
                yield f"{path}.{name}"
            else:
                yield from strange(inner, known.get(name), f"{path}.{name}")


@rule
def fields_are_known_elsewhere(rendering):
    for item in rendering.of_kind(*SPECS):
        known = {"apiVersion": None, "kind": None, "metadata": METADATA, "spec": SPECS[item["kind"]]}
        for path in strange(item, known, item["kind"]):
            yield f"{title(item)}: there is no field {path}"
