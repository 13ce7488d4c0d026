#!/usr/bin/env python3
"""Checks what promtool does not know of: that alerts have pages and tests, and that dashboards are whole.

    scripts/check-rules.py [--metrics docs/metrics.md]

scripts/check-rules.sh runs it, with promtool on the path and PyYAML beside Python's own library. With --metrics, the
first column of that page's table is the list of all metrics: each must be in a panel or a rule, and no other may be.
With DATABASE_URL, the statements of the pages are tried on that database.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

import promql

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULES = ROOT / "charts/goldbook/rules/goldbook.yaml"
TESTS = sorted((ROOT / "charts/goldbook/rules/tests").glob("*.yaml"))
DASHBOARDS = sorted((ROOT / "charts/goldbook/dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs/runbooks"
PAGES = sorted(RUNBOOKS.glob("*.md"))
# Pages that no alert links, since they are about all of them.
GENERAL_PAGES = {"README.md", "objectives.md"}
# Alerts that have neither a value nor a label to tell.
WITHOUT_LABELS = {"GoldbookNotScraped"}
# Methods of one message that have no objective for their latency, each with its reason.
UNTIMED = {
    "CustomerService/EraseCustomer": "takes as long as the customer has notes",
    "ComplaintService/GetComplaintMetrics": "takes as long as there are steps in the period",
    "SatisfactionService/GetSatisfactionIndex": "takes as long as there are answers in the period",
    "SegmentService/ListSegmentMembers": "looks at customers until it has found a page of members",
    "SegmentService/CountSegment": "takes as long as there are customers",
    "ValueService/FitValueModel": "takes as long as there are purchases",
    "ValueService/GetValueBacktest": "takes as long as there are purchases",
    "ValueService/GetScoreClasses": "takes as long as there are purchases",
    "ValueService/GetRetention": "takes as long as there are purchases",
    "ValueService/SimulateValueClasses": "takes as long as there are purchases",
}
# Series that come from Prometheus itself, or of which no page of metrics needs to tell.
FOREIGN = {"up", "ALERTS", "target_info"}


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboards():
    return {path: json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS}


def check_alerts():
    """Each alert says how bad it is, what happened, and where to read on; each page belongs to an alert."""
    linked = set()
    for name, rule in alerts().items():
        annotations = rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
            yield f"{name}: its severity is neither page nor ticket"
        for annotation in ("summary", "description", "runbook_url"):
            if not annotations.get(annotation):
                yield f"{name}: it has no {annotation}"
        if name not in WITHOUT_LABELS and not re.search(r"\$(value|labels)", annotations.get("description", "")):
            yield f"{name}: its description tells neither a value nor a label"
        page = annotations.get("runbook_url", "")
        found = re.fullmatch(r"docs/runbooks/([a-z-]+\.md)", page)
        if found is None or not (ROOT / page).is_file():
            yield f"{name}: there is no page {page}"
            continue
        linked.add(found[1])
        if f"`{name}`" not in (ROOT / page).read_text(encoding="utf-8"):
            yield f"{name}: {page} does not name it"
    readme = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        if page.name not in linked | GENERAL_PAGES:
            yield f"{page.name}: no alert links it"
        if page.name != "README.md" and f"]({page.name})" not in readme:
            yield f"{page.name}: docs/runbooks/README.md does not link it"
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for name in re.findall(r"`(Goldbook[A-Z]\w+)`", page.read_text(encoding="utf-8")):
            if name not in alerts():
                yield f"{page.relative_to(ROOT)}: there is no alert {name}"


def check_tests():
    """Each alert is tried where it must fire and where it must be silent."""
    fires, silent = set(), set()
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            for tried in test.get("alert_rule_test", []):
                (fires if tried.get("exp_alerts") else silent).add(tried["alertname"])
    for name in alerts():
        if name not in fires:
            yield f"{name}: no test has it fire"
        if name not in silent:
            yield f"{name}: no test has it silent"
    for name in sorted((fires | silent) - set(alerts())):
        yield f"{name}: it is tested, and there is no such alert"


def methods():
    """Every method of the protos, with whether it takes and answers one message."""
    for path in sorted((ROOT / "proto/goldbook/v1").glob("*.proto")):
        service = None
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"service (\w+)", line):
                service = found[1]
            elif found := re.match(r"\s*rpc (\w+)\((stream )?\w+\) returns \((stream )?", line):
                yield f"{service}/{found[1]}", not found[2] and not found[3]


def check_kinds():
    """Each method of one message has one kind of latency, and streams have none."""
    patterns = {}
    for rule in rules():
        if rule.get("record") in ("kind:goldbook_calls_timed:rate5m", "kind:goldbook_calls_slow:rate5m"):
            for selector in promql.read(rule["expr"]).selectors:
                for matcher in selector.matchers:
                    if matcher.label == "rpc_method":
                        patterns.setdefault(rule["labels"]["kind"], set()).add(matcher.value)
    for kind, found in patterns.items():
        if len(found) != 1:
            yield f"the kind {kind} means different methods in different rules"
    for method, is_single in methods():
        kinds = [kind for kind, found in patterns.items() if re.fullmatch(min(found), f"goldbook.v1.{method}")]
        wanted = 1 if is_single and method not in UNTIMED else 0
        if len(kinds) != wanted:
            yield f"{method}: it is of the kinds {kinds}, and must be of {wanted}"


def cells(position):
    right, bottom = position["x"] + position["w"], position["y"] + position["h"]
    return {(x, y) for x in range(position["x"], right) for y in range(position["y"], bottom)}


def check_panels(name, dashboard):
    ids, taken = set(), {}
    for panel in promql.panels_of(dashboard):
        where = f"{name}, panel {panel.get('title') or panel.get('id')!r}"
        if panel["id"] in ids:
            yield f"{where}: its id {panel['id']} is another's, too"
        ids.add(panel["id"])
        if not panel.get("title"):
            yield f"{where}: it has no title"
        if panel["gridPos"]["x"] + panel["gridPos"]["w"] > 24:
            yield f"{where}: it is wider than the dashboard"
        for cell in sorted(cells(panel["gridPos"])):
            if cell in taken:
                yield f"{where}: it lies over {taken[cell]!r}"
                break
            taken[cell] = panel["title"]
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            yield f"{where}: it has no description"
        if not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
            yield f"{where}: it has no unit"
        if not panel.get("targets"):
            yield f"{where}: it asks for nothing"
        for part in (panel, *panel.get("targets", [])):
            if part.get("datasource", {}).get("uid") != "${datasource}":
                yield f"{where}: it does not ask the data source that is chosen"


def check_dashboards():
    """Dashboards can be imported as they are, and each panel says what it shows."""
    uids = set()
    for path, dashboard in dashboards().items():
        name = path.name
        if "__inputs" in dashboard or "__requires" in dashboard or dashboard.get("id") is not None:
            yield f"{name}: it is an export that asks for inputs"
        if not dashboard.get("title") or not dashboard.get("uid") or dashboard["uid"] in uids:
            yield f"{name}: its title or uid is missing, or the uid is another's, too"
        uids.add(dashboard.get("uid"))
        variables = [variable["name"] for variable in dashboard["templating"]["list"]]
        for wanted in ("datasource", "namespace", "job", "instance"):
            if wanted not in variables:
                yield f"{name}: it has no variable {wanted}"
        yield from check_panels(name, dashboard)
        for asked in promql.asked_by_dashboard(name, dashboard):
            if ", panel " not in asked.place:
                continue
            for selector in promql.read(asked.expression).selectors:
                if not {"namespace", "job"} <= {matcher.label for matcher in selector.matchers}:
                    yield f"{asked.place}: {selector.name} is not chosen by $namespace and $job"


def check_expressions():
    """promtool can read every expression of the dashboards and pages."""
    asked = [one for path in (*DASHBOARDS, *PAGES) for one in promql.asked_by(path)]
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "expressions.yaml"
        for one in asked:
            # JSON is YAML. One file each, since promtool stops at the first that it cannot read.
            group = {"name": "one", "rules": [{"record": "one", "expr": one.expression}]}
            path.write_text(json.dumps({"groups": [group]}))
            outcome = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
            if outcome.returncode != 0:
                yield f"{one.place}: {outcome.stderr.strip().splitlines()[-1]}"


def check_statements(database):
    """Postgres can carry out every statement of the pages; `database` is migrated."""
    for path in PAGES:
        for block in promql.blocks_of(path.read_text(encoding="utf-8"), "sql"):
            for statement in block.split(";"):
                statement = statement.strip().replace("'ACCOUNT'", "gen_random_uuid()")
                # What was migrated without the service has no table of migrations.
                if not statement or "_sqlx_migrations" in statement:
                    continue
                explained = statement if statement.startswith("SHOW") else f"EXPLAIN {statement}"
                command = ["psql", "--no-psqlrc", "--quiet", "--command", explained, database]
                outcome = subprocess.run(command, capture_output=True, text=True, check=False)
                if outcome.returncode != 0:
                    yield f"{path.name}: {statement.splitlines()[0]}: {outcome.stderr.strip()}"


def asked_names():
    """Every series that a rule or a dashboard asks for, and that no rule records."""
    expressions = [rule["expr"] for rule in rules()]
    expressions += [asked.expression for path in DASHBOARDS for asked in promql.asked_by(path)]
    names = {selector.name for expression in expressions for selector in promql.read(expression).selectors}
    return names - {rule["record"] for rule in rules() if "record" in rule} - FOREIGN


def check_metrics(page):
    """Each metric of the page is in a panel or a rule, and these ask for no other."""
    listed = re.findall(r"^\|\s*`?([a-z_]+(?:\.[a-z_]+)+)`?\s*\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    if not listed:
        yield f"{page}: it has no table of metrics"
    asked = asked_names()
    suffixes = r"(_seconds|_bytes)?(_total|_bucket|_sum|_count)?"
    patterns = {name: re.compile(name.replace(".", "_") + suffixes) for name in listed}
    for name, pattern in patterns.items():
        if not any(pattern.fullmatch(series) for series in asked):
            yield f"{name}: no panel and no rule shows it"
    for series in sorted(asked):
        if not any(pattern.fullmatch(series) for pattern in patterns.values()):
            yield f"{series}: it is asked for, and {page.name} does not list it"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", metavar="PAGE", type=pathlib.Path)
    arguments = parser.parse_args()
    checks = [check_alerts(), check_tests(), check_kinds(), check_dashboards()]
    if database := os.environ.get("DATABASE_URL"):
        checks.append(check_statements(database))
    if arguments.metrics:
        checks.append(check_metrics(arguments.metrics))
    # What promtool cannot read, nothing else here can.
    faults = list(check_expressions()) or [fault for check in checks for fault in check]
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(alerts())} alerts, {len(DASHBOARDS)} dashboards, {len(PAGES)} pages: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
