#!/usr/bin/env python3
"""Finds what rules, dashboards and runbooks ask for and the service does not have.

    scripts/check-series.py --prometheus http://127.0.0.1:9090 charts/goldbook/dashboards/*.json docs/runbooks/*.md
    scripts/check-series.py --self-test

Prometheus must have scraped a service that was driven, with the rules loaded; scripts/watch-service.sh does that. Every
series that a rule, panel, variable or page asks for must be there, with the labels by which it is selected, grouped and
named, and with the values that are asked for literally. Rules must have been evaluated, and where a panel shows
examples there must be some. Only Python's own library is needed.
"""

import argparse
import json
import pathlib
import re
import sys
import time
import urllib.parse
import urllib.request

import promql

# What a service that is well does not show in the minute that it is driven: the series, or its label, or a value of
# that. Each with the reason.
EXCEPTIONS = {
    ("goldbook_batch_duration_seconds_count", "goldbook_outcome", "failed"): "no batch fails while all is well",
    ("goldbook_worker_rounds_total", "goldbook_outcome", "failed"): "no round fails while all is well",
    ("goldbook_refusals_total", "goldbook_reason", "WRITTEN_BY_NEWER_VERSION"): "nothing newer wrote to the database",
    ("db_client_operation_duration_seconds_count", "error_type", None): "no statement fails while all is well",
}


def labels_of(series):
    """The values of each label, over all series of a name."""
    labels = {}
    for one in series:
        for label, value in one.items():
            labels.setdefault(label, set()).add(value)
    return labels


def is_positive(matcher):
    """Whether a matcher asks for a value, and not for its absence."""
    if matcher.sign == "=~":
        return not re.fullmatch(matcher.value, "")
    return matcher.sign == "=" and matcher.value != ""


def matches(matcher, value):
    """Whether a value is one that a positive matcher asks for."""
    return re.fullmatch(matcher.value, value) is not None if matcher.sign == "=~" else value == matcher.value


def faults_of(asked, known, excepted):
    """What an expression asks for and is not there. `known` tells the series of a name, as sets of labels."""
    wanted = promql.read(asked.expression)
    faults = []

    def is_excepted(*what):
        name, label, value = what
        for exception in ((name, None, None), (name, label, None), (name, label, value)):
            if exception in EXCEPTIONS:
                excepted.add(exception)
                return True
        return False

    def fault(text, *what):
        if not is_excepted(*what):
            faults.append(f"{asked.place}: {text}")

    for selector in wanted.selectors:
        together = []
        labels = labels_of(known(selector.name))
        if not labels:
            fault(f"there is no series {selector.name}", selector.name, None, None)
            continue
        for matcher in selector.matchers:
            values = labels.get(matcher.label)
            what = (selector.name, matcher.label, matcher.value)
            if values is None:
                fault(f"{selector.name} has no label {matcher.label}", *what)
            elif is_positive(matcher):
                if any(matches(matcher, value) for value in values):
                    together.append(matcher)
                else:
                    fault(f"{selector.name} never has {matcher.label}{matcher.sign}{matcher.value!r}", *what)
        if not any(all(matches(it, one.get(it.label, "")) for it in together) for one in known(selector.name)):
            asked_for = ", ".join(f"{it.label}{it.sign}{it.value!r}" for it in together)
            fault(f"{selector.name} never has {asked_for} at once", selector.name, None, None)
    for label, selectors in wanted.grouped:
        for selector in selectors:
            labels = labels_of(known(selector.name))
            if labels and label not in labels:
                fault(f"{selector.name} has no label {label}, by which it is grouped", selector.name, label, None)
    everything = [(selector.name, labels_of(known(selector.name))) for selector in wanted.selectors]
    everything = [(name, labels) for name, labels in everything if labels]
    for label in sorted(wanted.joined | set(asked.shown)):
        if everything and label not in wanted.made and not any(label in labels for _, labels in everything):
            if not any([is_excepted(name, label, None) for name, _ in everything]):
                faults.append(f"{asked.place}: nothing in it has the label {label}")
    return faults


class Prometheus:
    """A running Prometheus, and what it was asked already."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        self.series = {}

    def ask(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def known(self, name):
        if name not in self.series:
            selector = json.dumps({"__name__": name})[1:-1].replace('"__name__": ', "__name__=")
            since = time.time() - 86_400
            self.series[name] = self.ask("series", **{"match[]": "{" + selector + "}", "start": f"{since:.0f}"})
        return self.series[name]

    def rules(self):
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def has_examples(self, expression):
        """Whether there are calls with a trace among what an expression counts."""
        found = self.ask("query_exemplars", query=expression, start=time.time() - 86_400, end=time.time())
        return any("trace_id" in example["labels"] for series in found for example in series["exemplars"])


def check(prometheus, paths):
    rules = prometheus.rules()
    if not rules:
        print("this Prometheus has no rules loaded", file=sys.stderr)
        return 1
    asked = [promql.Asked(f"rule {rule['name']}", rule["query"], []) for rule in rules]
    for path in paths:
        asked += promql.asked_by(path)
    excepted = set()
    faults = [fault for one in asked for fault in faults_of(one, prometheus.known, excepted)]
    for rule in rules:
        if rule["health"] != "ok":
            faults.append(f"rule {rule['name']}: it cannot be evaluated: {rule.get('lastError') or 'it never was'}")
    for one in asked:
        if one.with_examples and not prometheus.has_examples(one.expression):
            faults.append(f"{one.place}: there are no examples with a trace_id")
    for fault in faults:
        print(fault, file=sys.stderr)
    for name, label, value in sorted(excepted, key=str):
        what = name + (f" {label}" if label else "") + (f"={value}" if value else "")
        print(f"not there, and need not be: {what}: {EXCEPTIONS[(name, label, value)]}")
    names = {selector.name for one in asked for selector in promql.read(one.expression).selectors}
    print(f"{len(asked)} expressions ask for {len(names)} series; {len(faults)} faults")
    return 1 if faults else 0


def self_test():
    """Tries the reading of expressions, and each kind of fault, without a Prometheus."""

    def names(expression):
        return [selector.name for selector in promql.read(expression).selectors]

    assert names("up == 0 and on (job) last_over_time(build_info[1d])") == ["up", "build_info"]
    assert names('sum by (a) (rate(x{b="c)", d!~"e|f"}[5m])) / (sum(y) by (a) > 0)') == ["x", "y"]
    assert names("histogram_quantile(0.99, sum by (le) (rate(h_bucket[5m]))) > 1e-3 * 14.4") == ["h_bucket"]
    assert names("sum_over_time(job:x:rate5m[1d:5m]) * 300 >= bool 10 offset 5m") == ["job:x:rate5m"]
    assert names('{__name__="z", a="b"} unless ignoring (c) w # no series') == ["z", "w"]
    wanted = promql.read('sum by (kind, n) (label_replace(x, "kind", "$1", "m", "(.*)")) * on (j) group_left (v) y')
    assert [label for label, _ in wanted.grouped] == ["n"], wanted
    assert wanted.joined == {"j", "v"} and wanted.made == {"kind"}, wanted
    matchers = promql.read(r"""x{a="q\"r", b='s"t', c=`u\v`}""").selectors[0].matchers
    assert [matcher.value for matcher in matchers] == ['q"r', 's"t', "u\\v"], matchers
    assert promql.without_variables('x{a=~"$a", b="${b:regex}"}[$__rate_interval]') == 'x{a=~".*", b=".*"}[5m]'
    try:
        promql.read("sum(x")
        raise AssertionError("a bracket that is not closed is read")
    except ValueError:
        pass

    series = {
        "x": [
            {"__name__": "x", "job": "j", "code": "OK", "peer": "a"},
            {"__name__": "x", "job": "j", "code": "NOT_FOUND", "peer": "b"},
        ],
        "goldbook_worker_rounds_total": [{"__name__": "goldbook_worker_rounds_total", "goldbook_outcome": "done"}],
    }
    tried = [
        ('rate(x{code="OK", job=~"j|k"}[5m])', [], []),
        ("sum by (job, code) (x)", ["code"], []),
        ("missing", [], ["there is no series missing"]),
        ('x{colour="red"}', [], ["x has no label colour"]),
        ('x{code="LOST"}', [], ["x never has code='LOST'"]),
        ('x{code=~"LO.*"}', [], ["x never has code=~'LO.*'"]),
        ('x{code="OK", peer="a"}', [], []),
        ('x{code="OK", peer="b"}', [], ["x never has code='OK', peer='b' at once"]),
        ("sum by (job, colour) (x)", [], ["x has no label colour, by which it is grouped"]),
        ("x", ["colour"], ["nothing in it has the label colour"]),
        ("x * on (colour) x", [], ["nothing in it has the label colour"]),
        ('goldbook_worker_rounds_total{goldbook_outcome="failed"}', [], []),
    ]
    for expression, shown, expected in tried:
        found = faults_of(promql.Asked("here", expression, shown), lambda name: series.get(name, []), set())
        assert found == [f"here: {fault}" for fault in expected], (expression, found)
    target = {"refId": "A", "expr": "x", "legendFormat": "{{ job }}"}
    variable = {"name": "job", "type": "query", "query": {"query": 'label_values(x{job=~"$job"}, code)'}}
    dashboard = {
        "panels": [{"title": "Row", "panels": [{"title": "P", "targets": [target]}]}],
        "templating": {"list": [variable]},
    }
    asked = promql.asked_by_dashboard("d.json", dashboard)
    assert [(one.expression, one.shown) for one in asked] == [("x", ["job"]), ('x{job=~".*"}', ["code"])], asked
    asked = promql.asked_by_page("p.md", "```promql\nx # why\ny\n/ z\n```\n```sh\nw\n```\n")
    assert [names(one.expression) for one in asked] == [["x"], ["y", "z"]], asked
    print("the reading of expressions is as it should be")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", metavar="URL")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("files", nargs="*", metavar="FILE", type=pathlib.Path, help="a dashboard or a page")
    arguments = parser.parse_args()
    if arguments.self_test:
        self_test()
        return 0
    if not arguments.prometheus or not arguments.files:
        parser.error("a Prometheus and files are needed")
    return check(Prometheus(arguments.prometheus), arguments.files)


if __name__ == "__main__":
    sys.exit(main())
