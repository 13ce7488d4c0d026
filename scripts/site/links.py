"""Finds links of the built site that lead nowhere, and all that a page would load from another host. A site is a
dictionary of its files: the text of pages and style sheets, and nothing of others."""

import html.parser
import posixpath
import re
from urllib.parse import unquote, urlsplit

# What a browser does not load by itself, but goes to when somebody asks it to.
FOLLOWED = ("a", "area")
LINK_ATTRIBUTES = ("href", "src", "data", "action", "poster", "srcset", "xlink:href")
IN_STYLES = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")


class Page(html.parser.HTMLParser):
    """What a page links to and loads, its ids, and its text between them."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.base, self.classes = [], [], None, set()
        self.texts = [""]  # what stands before the first id, and behind each one
        self.is_style = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = {name: value or "" for name, value in attributes}
        if "id" in attributes:
            self.ids.append(attributes["id"])
            self.texts.append("")
        if tag == "base":
            self.base = attributes.get("href")
            return
        self.is_style = tag == "style"
        self.classes.update(attributes.get("class", "").split())
        targets = [attributes[name] for name in LINK_ATTRIBUTES if name in attributes]
        self.targets += [(tag, target) for target in targets]
        self.targets += [(tag, target) for target in targets_in_styles(attributes.get("style", ""))]

    def handle_data(self, data):
        self.texts[-1] += data
        if self.is_style:
            self.targets += [("style", target) for target in targets_in_styles(data)]


def targets_in_styles(text):
    return [first or second for first, second in IN_STYLES.findall(text)]


def read_pages(site):
    return {path: Page(text) for path, text in site.items() if path.endswith(".html")}


def find_broken_links(site, pages):
    """Links to what is not in the site."""
    faults = []
    for path, tag, target in all_targets(site, pages):
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        base = pages[path].base if path in pages else None
        there = resolve(path if base is None else base, unquote(parts.path), path)
        if there not in site:
            there = posixpath.join(there, "index.html") if there != "." else "index.html"
        if there not in site:
            faults.append(f"{path}: <{tag}> leads to {target}, which is not there")
        elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids:
            faults.append(f"{path}: <{tag}> leads to {target}, and the page has no such place")
    return faults


def resolve(base, target, own):
    """The path within the site that a link means. One with nothing but an anchor means the page itself."""
    if not target:
        return own
    if target.startswith("/"):
        return posixpath.normpath(target.lstrip("/") or ".")
    return posixpath.normpath(posixpath.join(posixpath.dirname(base).lstrip("/"), target))


def find_other_hosts(site, pages):
    """What a browser would ask another host for, though nobody follows a link."""
    faults = []
    for path, tag, target in all_targets(site, pages):
        parts = urlsplit(target)
        if tag not in FOLLOWED and (parts.netloc or parts.scheme in ("http", "https")):
            faults.append(f"{path}: <{tag}> loads {target} from another host")
    # mdBook's script sends the code of such a block to another host, and asks it for its packages at once.
    sent = (path for path, page in pages.items() if "playground" in page.classes)
    return faults + [f"{path}: has code that is sent to another host" for path in sent]


def find_undrawn(site, pages):
    """Diagrams that are shown as their text."""
    undrawn = (path for path, page in pages.items() if "language-mermaid" in page.classes)
    return [f"{path}: has a diagram that is not drawn" for path in undrawn]


def find_repeated_ids(site, pages):
    """Places that a link cannot tell apart."""
    return [
        f"{path}: has the id {one} more than once"
        for path, page in pages.items()
        for one in sorted(set(page.ids))
        if page.ids.count(one) > 1
    ]


def all_targets(site, pages):
    for path, page in pages.items():
        yield from ((path, tag, target) for tag, target in page.targets)
    for path, text in site.items():
        if path.endswith(".css"):
            yield from ((path, "style", target) for target in targets_in_styles(text))
