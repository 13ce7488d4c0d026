"""Finds what the protos declare and the built reference leaves out. It reads the protos themselves, and not the
descriptors that the reference is made from, so that neither can hide a mistake of the other."""

import re

FOLDER = "proto/goldbook/v1"
BLOCK = re.compile(r"(service|message|enum|oneof) (\w+) \{(\})?$")
METHOD = re.compile(r"rpc (\w+)\((stream )?([\w.]+)\) returns \((stream )?([\w.]+)\)(;| \{\}| \{)$")
FIELD = re.compile(r"(?:(optional|repeated) )?(map<[\w., ]+>|[\w.]+) (\w+) = (\d+)(?: \[.*\])?;$")
VALUE = re.compile(r"(\w+) = (\d+)(?: \[.*\])?;$")
PASSED_OVER = re.compile(r"(syntax|package|import|option|reserved)\b.*;$")


class Fault(Exception):
    """A line that cannot be read."""


def letters(text):
    """The text without spaces and marks, which pages write in ways of their own."""
    return re.sub(r"[^0-9A-Za-z]", "", text)


def lines_of(text):
    """Its lines with those of one statement joined, each with the comment above it."""
    comment, begun = [], ""
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("//") and not begun:
            comment.append(line.removeprefix("//"))
        elif not line and not begun:
            comment = []
        elif line:
            begun = f"{begun} {re.sub(r'(?<=[;{}]) *//.*', '', line)}".strip()
            if begun[-1] in ";{}":
                yield begun, "\n".join(comment)
                comment, begun = [], ""


def declarations(path, text):
    """The name of each thing that a file declares, its comment, and what else its place in the reference must tell."""
    blocks = []
    for line, comment in lines_of(text):
        kind, scope = blocks[-1] if blocks else (None, "")
        if line == "}":
            if not blocks:
                raise Fault(f"{path}: one '}}' too many")
            blocks.pop()
        elif block := BLOCK.match(line):
            name = f"{scope}{block[2]}"
            # The fields of a oneof are named as those of its message.
            if not block[3]:
                blocks.append((block[1], scope if block[1] == "oneof" else f"{name}."))
            yield name, comment, []
        elif kind == "service" and (method := METHOD.match(line)):
            ends = [("Takes", method[2], method[3]), ("returns", method[4], method[5])]
            if method[6] == " {":
                blocks.append(("options", scope))
            told = [f"{verb} {'a stream of ' if stream else ''}{kind_}" for verb, stream, kind_ in ends]
            yield f"{scope}{method[1]}", comment, told
        elif kind in ("message", "oneof") and (field := FIELD.match(line)):
            told = [field[2].replace("map<", "map of ").replace(",", " to "), f"number {field[4]}"]
            yield f"{scope}{field[3]}", comment, told + ([field[1]] if field[1] else [])
        elif kind == "enum" and (value := VALUE.match(line)):
            yield f"{scope}{value[1]}", comment, [f"number {value[2]}"]
        elif not PASSED_OVER.match(line):
            raise Fault(f"{path}: cannot read '{line}'")
    if blocks:
        raise Fault(f"{path}: one '}}' is missing")


def find_missing(protos, pages):
    """What the files of `protos`, by name, declare and the pages do not tell."""
    faults = []
    for name, text in sorted(protos.items()):
        path = f"{FOLDER}/{name.removesuffix('.proto')}.html"
        if path not in pages:
            faults.append(f"{path} is not there")
            continue
        page = pages[path]
        declared = list(declarations(name, text))
        # What is told of a name goes on until the next one.
        places, told = {one for one, _, _ in declared}, {}
        now = None
        for one, text_behind in zip(page.ids, page.texts[1:]):
            now = one if one in places else now
            told[now] = told.get(now, "") + text_behind
        for one, comment, facts in declared:
            if not letters(comment):
                faults.append(f"{name}: {one} has no comment")
            elif one not in told:
                faults.append(f"{path} leaves out {one}")
            elif not all(letters(fact) in letters(told[one]) for fact in [comment, *facts]):
                faults.append(f"{path} does not tell all of {one}")
    return faults


def count(protos):
    return sum(len(list(declarations(name, text))) for name, text in protos.items())
