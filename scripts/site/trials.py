"""Tries each check on what is broken. A check that finds nothing there would find nothing ever."""

import copy
import pathlib

import links
import pages
import protos
import reference

PAGE = "docs/index.html"
REFERENCE = f"{protos.FOLDER}/benefits.html"
PROTO = "benefits.proto"
FIELD = "Entitlement.tier_id"


class Unchanged(Exception):
    """A trial that breaks nothing."""


def replaced(text, old, new):
    if old not in text:
        raise Unchanged(f"the trial finds no '{old}'")
    return text.replace(old, new, 1)


def with_body(site, addition):
    return site | {PAGE: replaced(site[PAGE], "</main>", f"{addition}</main>")}


def without(site, path):
    return {name: text for name, text in site.items() if name != path}


def broken_sites(site):
    """What is broken, the check that has to find it, the site with it, and what has to be said."""
    broken, hosts, repeated = links.find_broken_links, links.find_other_hosts, links.find_repeated_ids
    style = next(path for path in site if path.endswith(".css"))
    yield "a link to no page", broken, with_body(site, '<a href="gone.html">x</a>'), "gone.html"
    yield "a link to no place of a page", broken, with_body(site, '<a href="errors.html#gone">x</a>'), "#gone"
    yield "a link to no place of its page", broken, with_body(site, '<a href="#gone">x</a>'), "#gone"
    yield "a link out of the site", broken, with_body(site, '<a href="../../x.html">x</a>'), "../../x.html"
    yield "a link to no file", broken, with_body(site, '<img src="gone.png">'), "gone.png"
    yield "a page that is gone", broken, without(site, "docs/errors.html"), "errors.html"
    yield "a style sheet that loads no file", broken, site | {style: "a { background: url(gone.svg) }"}, "gone.svg"
    other = "//other.example/x"
    yield "a script from another host", hosts, with_body(site, f'<script src="https:{other}"></script>'), other
    yield "a picture from another host", hosts, with_body(site, f'<img src="{other}">'), other
    yield "a style sheet from another host", hosts, with_body(site, f'<link href="http:{other}">'), other
    yield "a style from another host", hosts, with_body(site, f"<style>@import 'http:{other}';</style>"), other
    yield "a font from another host", hosts, site | {style: f"a {{ src: url('https:{other}') }}"}, other
    yield "code sent to another host", hosts, with_body(site, '<pre class="playground"></pre>'), "is sent"
    diagram = '<code class="language-mermaid"></code>'
    yield "a diagram as text", links.find_undrawn, with_body(site, diagram), "not drawn"
    yield "an id twice", repeated, with_body(site, '<a id="x"></a><a id="x"></a>'), "the id x"


def broken_references(site, sources):
    """What is broken, the site and the protos with it, and what has to be said."""
    page, proto = site[REFERENCE], sources[PROTO]
    yield "a page that is gone", without(site, REFERENCE), sources, "is not there"

    def other_page(old, new=""):
        return site | {REFERENCE: replaced(page, old, new)}

    def other_proto(old, new):
        return sources | {PROTO: replaced(proto, old, new)}

    yield "a field left out", other_page(f'id="{FIELD}"'), sources, f"leaves out {FIELD}"
    yield "a field without its comment", other_page("The tier that gives it."), sources, f"not tell all of {FIELD}"
    yield "a field without its number", other_page("number 2"), sources, f"not tell all of {FIELD}"
    yield "a new method", site, other_proto("  rpc ", "  // New.\n  rpc New(A) returns (B);\n\n  rpc "), ".New"
    yield "a new message", site, other_proto("// A customer's", "// New.\nmessage New {}\n\n// A customer's"), "out New"
    yield "a new value", site, sources | {PROTO: f"{proto}\n// New.\nenum New {{\n  // No.\n  NO = 0;\n}}\n"}, "New.NO"
    yield "a stream", site, other_proto("returns (", "returns (stream "), "ListCustomerBenefits"
    yield "no comment", site, other_proto("  // The tier that gives it. Empty of a grant.\n", ""), f"{FIELD} has no comment"
    yield "another comment", site, other_proto("The tier that gives it.", "Never."), f"not tell all of {FIELD}"


def broken_summaries(read):
    summary = read(pages.SUMMARY)
    yield "a page left out", replaced(summary, "- [Errors](errors.md)\n", ""), "does not list docs/errors.md"
    yield "a page that is not there", f"{summary}- [Gone](gone.md)\n", "docs/gone.md, which is not there"
    yield "a page listed twice", f"{summary}- [Errors](errors.md)\n", "docs/errors.md more than once"
    yield "another title", replaced(summary, "[Errors]", "[Mistakes]"), "calls docs/errors.md 'Mistakes'"
    yield "no reference", replaced(summary, "- [The interface](../proto/goldbook/v1)\n", ""), "list proto/goldbook/v1"


def find_missed(root, site, sources, descriptors):
    """The trials that a check did not pass, and how many there were."""
    missed, tried = [], 0

    def demand(name, faults, words):
        nonlocal tried
        tried += 1
        if not any(words in fault for fault in faults):
            missed.append(f"the check does not say '{words}' of {name}")

    for name, check, other, words in broken_sites(site):
        # Only the page that changed is read again where the others tell no more.
        demand(name, check(other, read_some(site, other)), words)
    for name, other, protos_then, words in broken_references(site, sources):
        some = {path: text for path, text in other.items() if path.startswith(protos.FOLDER)}
        demand(name, protos.find_missing(protos_then, links.read_pages(some)), words)
    docs = {str(path.relative_to(root)) for path in (root / "docs").rglob("*.md")}

    def read(path):
        file = pathlib.Path(root, path)
        return file.read_text() if file.is_file() else None

    for name, summary, words in broken_summaries(read):
        demand(name, pages.find_faults_of_summary(lambda p: summary if p == pages.SUMMARY else read(p), docs), words)
    faults = []
    pages.fit("docs/README.md", "[x](gone.md)", set(), lambda path: False, set(), faults)
    demand("a page that links to one that is not listed", faults, "docs/gone.md")
    demand("descriptors without comments", [comment_fault(descriptors)], "has no comment")
    return missed, tried


def read_some(site, other):
    """The pages that matter for a trial: the one that it changes, and those that it leads to."""
    return links.read_pages({path: other[path] for path in (PAGE, "docs/errors.html") if path in other})


def comment_fault(descriptors):
    """What is said where one comment of the descriptors is gone."""
    other = copy.deepcopy(descriptors)
    file = next(item for item in other["file"] if item["name"].endswith(f"/{PROTO}"))
    located = next(item for item in file["sourceCodeInfo"]["location"] if item.get("path") == [4, 0, 2, 1])
    del located["leadingComments"]
    try:
        reference.make_reference(other)
    except reference.Fault as fault:
        return str(fault)
    return ""
