"""What an expression of Prometheus asks for: which series, with which labels and values.

It reads only as much of the language as is needed for that. Whether an expression can be understood at all is for
promtool to say. scripts/check-rules.py and scripts/check-series.py use it; only Python's own library is needed.
"""

import json
import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<range>\[[^\]]*\])
    |(?P<number>0x[0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+|(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*)?)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^@(){},=<>])
    """,
    re.VERBOSE,
)
AGGREGATIONS = set("sum min max avg group stddev stdvar count count_values bottomk topk quantile".split())
LABEL_LISTS = set("by without on ignoring group_left group_right".split())
WORDS = set("and or unless offset bool atan2 inf nan".split())
# What Grafana puts into an expression before it sends it.
RANGES = {"__rate_interval": "5m", "__interval": "1m", "__range": "1h"}


@dataclass(frozen=True)
class Matcher:
    """One condition on a label."""

    label: str
    sign: str
    value: str


@dataclass
class Selector:
    """One series that is asked for."""

    name: str
    matchers: list


@dataclass
class Wanted:
    """All that an expression asks for."""

    selectors: list = field(default_factory=list)
    # Labels by which something is grouped, with the selectors that must have them.
    grouped: list = field(default_factory=list)
    # Labels that need be on one of the expression's series at least: those of a join.
    joined: set = field(default_factory=set)
    # Labels that the expression makes by itself.
    made: set = field(default_factory=set)


def tokens_of(text):
    """The tokens of an expression, as pairs of kind and text."""
    tokens, at = [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"cannot read {text[at:at + 20]!r} in {text!r}")
        if match.lastgroup != "space":
            tokens.append((match.lastgroup, match.group()))
        at = match.end()
    return tokens


def unquoted(token):
    """What a string says."""
    if token[0] == "`":
        return token[1:-1]
    # Prometheus and JSON have the same escapes, but for those of the other quote.
    inner = token[1:-1].replace("\\'", "'")
    if token[0] == "'":
        inner = inner.replace('\\"', '"').replace('"', '\\"')
    return json.loads(f'"{inner}"')


def closing(tokens, at):
    """Where the bracket that opens at this token closes."""
    depth = 0
    for place in range(at, len(tokens)):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(tokens[place][1], 0)
        if depth == 0:
            return place
    raise ValueError("a bracket is not closed")


def is_sign(tokens, at, sign):
    return at < len(tokens) and tokens[at] == ("sign", sign)


def labels_between(tokens, begin, end):
    return [text for kind, text in tokens[begin:end] if kind == "name"]


def selector_at(tokens, at):
    """The selector that begins here, and what comes after it."""
    name, matchers = "", []
    if tokens[at][0] == "name":
        name = tokens[at][1]
        at += 1
    if is_sign(tokens, at, "{"):
        end = closing(tokens, at)
        inner = [token for token in tokens[at + 1 : end] if token != ("sign", ",")]
        for label, sign, value in zip(inner[::3], inner[1::3], inner[2::3], strict=True):
            matchers.append(Matcher(label[1], sign[1], unquoted(value[1])))
        at = end + 1
    named = [matcher for matcher in matchers if matcher.label == "__name__" and matcher.sign == "="]
    if named:
        name = named[0].value
    if not name:
        raise ValueError("a selector without the name of a series")
    return Selector(name, [matcher for matcher in matchers if matcher.label != "__name__"]), at


def merge(into, other):
    into.selectors += other.selectors
    into.grouped += other.grouped
    into.joined |= other.joined
    into.made |= other.made


def aggregation_at(tokens, at, wanted):
    """Adds an aggregation that begins here; returns what comes after it."""
    kind, at, labels = tokens[at][1], at + 1, []

    def grouping(at):
        if at + 1 < len(tokens) and tokens[at][1] in ("by", "without") and is_sign(tokens, at + 1, "("):
            end = closing(tokens, at + 1)
            if tokens[at][1] == "by":
                labels.extend(labels_between(tokens, at + 2, end))
            return end + 1
        return at

    at = grouping(at)
    end = closing(tokens, at)
    inner = wanted_by(tokens[at + 1 : end])
    if kind == "count_values":
        inner.made.update(unquoted(text) for what, text in tokens[at + 1 : at + 2] if what == "string")
    at = grouping(end + 1)
    for label in labels:
        if label not in inner.made:
            inner.grouped.append((label, list(inner.selectors)))
    merge(wanted, inner)
    return at


def wanted_by(tokens):
    """What these tokens ask for."""
    wanted, at = Wanted(), 0
    while at < len(tokens):
        kind, text = tokens[at]
        opens = is_sign(tokens, at + 1, "(")
        if kind == "name" and text in AGGREGATIONS and (opens or tokens[at + 1][1] in ("by", "without")):
            at = aggregation_at(tokens, at, wanted)
        elif kind == "name" and text in LABEL_LISTS and opens:
            end = closing(tokens, at + 1)
            if text != "ignoring":
                wanted.joined.update(labels_between(tokens, at + 2, end))
            at = end + 1
        elif kind == "name" and opens:
            if text in ("label_replace", "label_join"):
                inner = tokens[at + 2 : closing(tokens, at + 1)]
                wanted.made.add(unquoted(next(word for what, word in inner_after_comma(inner) if what == "string")))
            at += 1
        elif kind == "name" and text.lower() not in WORDS or (kind, text) == ("sign", "{"):
            selector, at = selector_at(tokens, at)
            wanted.selectors.append(selector)
        else:
            at += 1
    return wanted


def inner_after_comma(tokens):
    """The arguments of a call after the first one."""
    depth = 0
    for place, (_, text) in enumerate(tokens):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text, 0)
        if depth == 0 and text == ",":
            return tokens[place + 1 :]
    return []


def read(expression):
    """What an expression asks for."""
    return wanted_by(tokens_of(expression))


def without_variables(expression):
    """An expression of a dashboard as Prometheus would get it, where all of everything is chosen."""

    def value(match):
        return RANGES.get(match.group(1) or match.group(2), ".*")

    return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", value, expression)


@dataclass
class Asked:
    """An expression, and where it stands."""

    place: str
    expression: str
    # Labels that are shown beside what it finds.
    shown: list
    # Whether examples are shown in it, each with its trace.
    with_examples: bool = False


def panels_of(dashboard):
    """All panels, also those in rows that are folded."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def asked_by_dashboard(name, dashboard):
    """Every expression of a dashboard: of its panels, its variables and its annotations."""
    asked = []
    for panel in panels_of(dashboard):
        for target in panel.get("targets", []):
            shown = re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", ""))
            place = f"{name}, panel {panel['title']!r}, query {target['refId']}"
            expression = without_variables(target["expr"])
            asked.append(Asked(place, expression, shown, target.get("exemplar", False)))
    for variable in dashboard.get("templating", {}).get("list", []):
        query = variable.get("query")
        query = query.get("query") if isinstance(query, dict) else query
        found = re.fullmatch(r"label_values\((.*),\s*(\w+)\)", query or "")
        if variable["type"] == "query":
            if found is None:
                raise ValueError(f"{name}: the variable {variable['name']} asks for something else than label_values")
            asked.append(Asked(f"{name}, variable {variable['name']}", without_variables(found[1]), [found[2]]))
    for annotation in dashboard.get("annotations", {}).get("list", []):
        if "expr" in annotation:
            place = f"{name}, annotation {annotation['name']}"
            asked.append(Asked(place, without_variables(annotation["expr"]), []))
    return asked


def blocks_of(text, language):
    """The blocks of code of a page in a language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def asked_by_page(name, text):
    """Every expression of a page: each line of a block is one, or goes on with the one before it."""
    asked = []
    for block in blocks_of(text, "promql"):
        expressions = re.sub(r"\n(?=[ /])", " ", block).splitlines()
        asked += [Asked(f"{name}, {expression!r}", expression, []) for expression in expressions if expression.strip()]
    return asked


def asked_by(path):
    """Every expression of a dashboard or a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return asked_by_page(path.name, text)
    return asked_by_dashboard(path.name, json.loads(text))
