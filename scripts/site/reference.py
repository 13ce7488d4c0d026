"""Makes pages of the protos, one for each file, from descriptors with comments, as `buf build` writes them."""

import re

PACKAGE = ".goldbook.v1."
FOLDER = "proto/goldbook/v1"

# Where things are in a descriptor: the numbers of its own fields, of which paths to comments are made.
MESSAGES, ENUMS, SERVICES = 4, 5, 6
FIELDS, NESTED_MESSAGES, NESTED_ENUMS, ONEOFS = 2, 3, 4, 8
METHODS, VALUES = 2, 2


class Fault(Exception):
    """The protos do not make a reference."""


class File:
    """One file of the protos, with its comments by path."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.path = descriptor["name"]
        self.stem = self.path.rsplit("/", 1)[1].removesuffix(".proto")
        self.title = self.stem.capitalize()
        self.services = descriptor.get("service", [])
        self.comments = {
            tuple(location.get("path", [])): location.get("leadingComments", "")
            for location in descriptor["sourceCodeInfo"]["location"]
        }

    def comment(self, path, name):
        lines = self.comments.get(tuple(path), "").split("\n")
        text = "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip()
        if not text:
            raise Fault(f"{self.path}: {name} has no comment")
        return text


class Names:
    """The page of each name, by what comments and types call it."""

    def __init__(self, files):
        self.targets = {}
        methods = []
        for file in files:
            for service in file.services:
                self.add(file, service["name"])
                for method in service.get("method", []):
                    self.add(file, f"{service['name']}.{method['name']}")
                    methods.append((method["name"], f"{file.stem}.md#{service['name']}.{method['name']}"))
            for item, prefix in walk(file.descriptor.get("messageType", []), ""):
                self.add_parts(file, prefix + item["name"], item.get("field", []))
                for enum in item.get("enumType", []):
                    self.add_parts(file, f"{prefix}{item['name']}.{enum['name']}", enum["value"], alone=True)
            for enum in file.descriptor.get("enumType", []):
                self.add_parts(file, enum["name"], enum["value"], alone=True)
        for name, target in methods:
            # Comments call a method by its own name, which only one service has.
            self.targets.setdefault(name, target)

    def add(self, file, name):
        self.targets[name] = f"{file.stem}.md#{name}"

    def add_parts(self, file, name, parts, alone=False):
        """With `alone`, a part is also called by its own name, as values of an enum are."""
        self.add(file, name)
        for part in parts:
            self.add(file, f"{name}.{part['name']}")
            if alone:
                self.targets[part["name"]] = f"{file.stem}.md#{name}.{part['name']}"

    def link(self, name):
        target = self.targets.get(name)
        return f"[`{name}`]({target})" if target else f"`{name}`"

    def link_text(self, text, around):
        """A comment in which names lead to what they name, but for the one that it is about. It has no HTML."""

        def replace(match):
            name = match[1]
            if name is None:
                return "&lt;"
            is_own = name == around or around.endswith(f".{name}")
            return match[0] if is_own else self.link(name)

        return re.sub(r"`([^`\n]+)`|<", replace, text)


def walk(messages, prefix):
    """All messages but those that stand for maps, also the nested ones, each with what stands before its name."""
    for message in messages:
        if message.get("options", {}).get("mapEntry"):
            continue
        yield message, prefix
        yield from walk(message.get("nestedType", []), f"{prefix}{message['name']}.")


def is_deprecated(item):
    return item.get("options", {}).get("deprecated", False)


def short(type_name):
    return type_name.removeprefix(PACKAGE) if type_name.startswith(PACKAGE) else type_name.removeprefix(".")


class Writer:
    """The page of one file."""

    def __init__(self, file, names):
        self.file, self.names, self.parts = file, names, []

    def say(self, text):
        self.parts.append(text)

    def heading(self, level, name):
        self.say(f"{'#' * level} {name.rsplit('.', 1)[1] if level == 3 else name} {{#{name}}}")

    def comment(self, path, name, indent=""):
        text = self.names.link_text(self.file.comment(path, name), name)
        self.say("\n".join(indent + line if line else "" for line in text.split("\n")))

    def type_of(self, field, message):
        name = field.get("typeName")
        if not name:
            return f"`{field['type'].removeprefix('TYPE_').lower()}`"
        entries = (nested for nested in message.get("nestedType", []) if name.endswith(f".{nested['name']}"))
        entry = next((nested for nested in entries if nested.get("options", {}).get("mapEntry")), None)
        if entry:
            key, value = (self.type_of(part, entry) for part in entry["field"])
            return f"map of {key} to {value}"
        return self.names.link(short(name))

    def item(self, path, name, facts, indent=""):
        """A field or a value: its name, which others link to, what it is, and its comment."""
        anchor = f'<a class="declared" id="{name}"></a>'
        self.say(f"{indent}- {anchor}**`{name.rsplit('.', 1)[1]}`**, {', '.join(facts)}")
        self.comment(path, name, indent + "  ")

    def service(self, index, service):
        name, path = service["name"], [SERVICES, index]
        self.heading(2, name)
        self.comment(path, name)
        for number, method in enumerate(service.get("method", [])):
            full = f"{name}.{method['name']}"
            self.heading(3, full)
            request, response = (self.names.link(short(method[end])) for end in ("inputType", "outputType"))
            request = f"a stream of {request}" if method.get("clientStreaming") else request
            response = f"a stream of {response}" if method.get("serverStreaming") else response
            self.say(f"Takes {request}, returns {response}.{' Deprecated.' if is_deprecated(method) else ''}")
            self.comment(path + [METHODS, number], full)

    def field(self, path, message, name, field, indent=""):
        facts = [self.type_of(field, message), f"number {field['number']}"]
        is_map = facts[0].startswith("map of ")
        if field["label"] == "LABEL_REPEATED" and not is_map:
            facts[0] = f"repeated {facts[0]}"
        if field.get("proto3Optional"):
            facts.append("optional")
        if is_deprecated(field):
            facts.append("deprecated")
        self.item(path, f"{name}.{field['name']}", facts, indent)

    def message(self, path, message, prefix):
        name = prefix + message["name"]
        self.heading(2, name)
        self.comment(path, name)
        begun = set()
        for number, field in enumerate(message.get("field", [])):
            there = path + [FIELDS, number]
            oneof = field.get("oneofIndex")
            if oneof is None or field.get("proto3Optional"):
                self.field(there, message, name, field)
                continue
            if oneof not in begun:
                begun.add(oneof)
                self.item(path + [ONEOFS, oneof], f"{name}.{message['oneofDecl'][oneof]['name']}", ["one of"])
            self.field(there, message, name, field, "  ")
        if not message.get("field"):
            self.say("It has no fields.")
        for number, enum in enumerate(message.get("enumType", [])):
            self.enum(path + [NESTED_ENUMS, number], enum, f"{name}.")
        for number, nested in enumerate(message.get("nestedType", [])):
            if not nested.get("options", {}).get("mapEntry"):
                self.message(path + [NESTED_MESSAGES, number], nested, f"{name}.")

    def enum(self, path, enum, prefix):
        name = prefix + enum["name"]
        self.heading(2, name)
        self.comment(path, name)
        for number, value in enumerate(enum["value"]):
            facts = [f"number {value.get('number', 0)}"] + (["deprecated"] if is_deprecated(value) else [])
            self.item(path + [VALUES, number], f"{name}.{value['name']}", facts)

    def page(self):
        self.say(f"# {self.file.title}")
        self.say(f"`{self.file.path}`, package `{PACKAGE.strip('.')}`.")
        for index, service in enumerate(self.file.services):
            self.service(index, service)
        for index, message in enumerate(self.file.descriptor.get("messageType", [])):
            self.message([MESSAGES, index], message, "")
        for index, enum in enumerate(self.file.descriptor.get("enumType", [])):
            self.enum([ENUMS, index], enum, "")
        return "\n\n".join(self.parts) + "\n"


def first_page(files, names):
    """All services and methods, each with the first sentence of its comment."""
    parts = ["# The interface", "Every service, method, message and field, from the comments of the protos."]
    for file in files:
        for index, service in enumerate(file.services):
            path = [SERVICES, index]
            parts.append(f"## {service['name']}")
            parts.append(f"[{file.title}]({file.stem}.md): " + first_sentence(file.comment(path, service["name"])))
            rows = ["| Method | What it does |", "| --- | --- |"]
            for number, method in enumerate(service.get("method", [])):
                name = f"{service['name']}.{method['name']}"
                text = first_sentence(file.comment(path + [METHODS, number], name)).replace("|", "\\|")
                rows.append(f"| [`{method['name']}`]({names.targets[name]}) | {text} |")
            parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"


def first_sentence(text):
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", paragraph)[0]


def make_reference(descriptors):
    """The pages by path, and their titles in order. Raises `Fault` where a comment is missing."""
    own = (item for item in descriptors["file"] if item["name"].startswith("goldbook/"))
    files = sorted((File(item) for item in own), key=lambda file: file.stem)
    if not files:
        raise Fault("the descriptors have no file of goldbook")
    names = Names(files)
    pages = {f"{FOLDER}/README.md": first_page(files, names)}
    pages |= {f"{FOLDER}/{file.stem}.md": Writer(file, names).page() for file in files}
    return pages, [(file.title, f"{FOLDER}/{file.stem}.md") for file in files]
