"""Puts the pages of the repository together for mdBook, where they lie as in the repository. Their links fit the site:
a link to a file takes the file along, one to a proto leads to its page of the reference, and one to another folder
becomes its text. Diagrams are drawn by a script that the site has itself."""

import html
import posixpath
import re

import reference

SUMMARY = "docs/SUMMARY.md"
DRAWING = "mermaid/mermaid.min.js"
DIAGRAMS = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCES = re.compile(r"^ *(`{3,}).*?^ *\1`* *$", re.MULTILINE | re.DOTALL)
# A piece of code comes first, so that nothing within it is taken for a link.
LINKS = re.compile(
    r"(?P<code>(?<!`)(`+)(?!`).+?(?<!`)\2(?!`))|\[(?P<text>(?:[^\[\]`]|`[^`]*`)*)\]\((?P<to>[^)\s]+)\)",
    re.DOTALL,
)


def resolve(page, target):
    """The path within the repository that a page's link means, and the anchor with its `#`."""
    path, mark, anchor = target.partition("#")
    there = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    return there, mark + anchor


def is_outside(target):
    return re.match(r"[a-z][a-z0-9+.-]*:", target) is not None


def replace_links(text, replace):
    """The text with each link replaced by what `replace(text, target)` makes of it, but for what is code."""

    def replace_one(match):
        return match[0] if match["code"] else replace(match["text"], match["to"])

    parts, end = [], 0
    for fence in FENCES.finditer(text):
        parts += [LINKS.sub(replace_one, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join(parts) + LINKS.sub(replace_one, text[end:])


def links_of(page, text):
    """The paths that a page links to, in order."""
    found = []

    def note(_, target):
        if not is_outside(target):
            found.append(resolve(page, target)[0])
        return ""

    replace_links(text, note)
    return found


def title_of(text):
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]


def find_faults_of_summary(read, docs):
    """What is wrong with the summary. `read` gives the text of a file or None, `docs` is all pages below docs/."""
    summary = read(SUMMARY)
    listed = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", summary)
    paths = [resolve(SUMMARY, target)[0] for _, target in listed]
    faults = [f"{SUMMARY} does not list {path}" for path in sorted(docs) if path != SUMMARY and path not in paths]
    faults += [f"{SUMMARY} lists {path} more than once" for path in sorted(set(paths)) if paths.count(path) > 1]
    if reference.FOLDER not in paths:
        faults.append(f"{SUMMARY} does not list {reference.FOLDER}")
    for (title, _), path in zip(listed, paths):
        if path == reference.FOLDER:
            continue
        text = read(path)
        if text is None:
            faults.append(f"{SUMMARY} lists {path}, which is not there")
        elif title_of(text) != title:
            faults.append(f"{SUMMARY} calls {path} '{title}', and its title is '{title_of(text)}'")
    return faults


def fit(page, text, listed, is_file, taken, faults):
    """The page with links that fit the site. Files that have to come along are added to `taken`."""

    def replace(label, target):
        if is_outside(target):
            return f"[{label}]({target})"
        path, anchor = resolve(page, target)
        if path == reference.FOLDER:
            path = f"{path}/README.md"
        elif path.startswith(f"{reference.FOLDER}/") and path.endswith(".proto"):
            path = path.removesuffix(".proto") + ".md"
        elif path.endswith(".md"):
            if path not in listed:
                faults.append(f"{page} links to {path}, which {SUMMARY} does not list")
        elif is_file(path):
            taken.add(path)
        else:
            return label
        if posixpath.basename(path) == "README.md":
            path = posixpath.join(posixpath.dirname(path), "index.html")  # what mdBook makes of it
        return f"[{label}]({relative(page, path)}{anchor})"

    return draw(page, replace_links(text, replace))


def relative(page, path):
    return posixpath.relpath(path, posixpath.dirname(page) or ".")


def draw(page, text):
    """The page with its diagrams as the script wants them. Without scripts, a browser shows their text."""
    drawn, count = DIAGRAMS.subn(lambda match: f'<pre class="mermaid">\n{html.escape(match[1])}</pre>', text)
    if not count:
        return text
    # From left to right as they are written, and in their own size, so that words can be read: a wide one scrolls.
    start = "<script>mermaid.initialize({ layout: 'dagre', flowchart: { useMaxWidth: false } });</script>"
    return f'{drawn}\n<script src="{relative(page, DRAWING)}"></script>\n{start}\n'


def make_summary(text, titles):
    """The summary for mdBook, with the pages of the reference below their first one."""
    lines = []
    for line in text.split("\n"):
        match = re.fullmatch(r"( *)(- )?\[(.+)\]\((.+)\)", line)
        if not match:
            lines.append(line)
            continue
        indent, mark, title, target = match.groups()
        path = resolve(SUMMARY, target)[0]
        if path == reference.FOLDER:
            lines.append(f"{indent}- [{title}]({path}/README.md)")
            lines += [f"{indent}  - [{below}]({there})" for below, there in titles]
        else:
            lines.append(f"{indent}{mark or ''}[{title}]({path})")
    return "\n".join(lines)


def gather(root, descriptors, there):
    """Writes all pages and the files that they link to below `there`. Returns what is wrong."""

    def read(path):
        file = root / path
        return file.read_text() if file.is_file() else None

    docs = {str(path.relative_to(root)) for path in (root / "docs").rglob("*.md")}
    faults = find_faults_of_summary(read, docs)
    if faults:
        return faults
    listed = {path for path in links_of(SUMMARY, read(SUMMARY)) if path != reference.FOLDER}
    pages, titles = reference.make_reference(descriptors)
    taken = set()
    for path in sorted(listed):
        pages[path] = fit(path, read(path), listed, lambda path: (root / path).is_file(), taken, faults)
    pages["SUMMARY.md"] = make_summary(read(SUMMARY), titles)
    for path in sorted(taken):
        write(there / path, (root / path).read_bytes())
    for path, text in pages.items():
        write(there / path, text.encode())
    return faults


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
