"""Makes and checks the documentation site, for scripts/build-site.sh. Paths are those of the repository:

    main.py gather DESCRIPTORS SOURCE   puts the pages for mdBook below SOURCE; DESCRIPTORS is JSON that buf wrote
    main.py check DESCRIPTORS SITE      checks the built site, and tries the checks
"""

import json
import pathlib
import sys

import links
import pages
import protos
import reference
import trials

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_site(there):
    """The text of pages and style sheets, and no text of other files."""
    files = (path for path in there.rglob("*") if path.is_file())
    return {
        path.relative_to(there).as_posix(): path.read_text() if path.suffix in (".html", ".css") else ""
        for path in files
    }


def check(descriptors, there):
    site = read_site(there)
    built = links.read_pages(site)
    sources = {path.name: path.read_text() for path in (ROOT / protos.FOLDER).glob("*.proto")}
    faults = [
        *links.find_broken_links(site, built),
        *links.find_other_hosts(site, built),
        *links.find_undrawn(site, built),
        *links.find_repeated_ids(site, built),
        *protos.find_missing(sources, built),
    ]
    if faults:
        return faults
    missed, tried = trials.find_missed(ROOT, site, sources, descriptors)
    targets = sum(1 for _ in links.all_targets(site, built))
    if not missed:
        print(f"{len(built)} pages, {targets} links, {protos.count(sources)} declarations of protos, {tried} trials")
    return missed


def main(command, descriptors, there):
    descriptors = json.loads(pathlib.Path(descriptors).read_text())
    there = pathlib.Path(there)
    try:
        faults = pages.gather(ROOT, descriptors, there) if command == "gather" else check(descriptors, there)
    except (reference.Fault, protos.Fault, trials.Unchanged) as fault:
        faults = [str(fault)]
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("gather", "check"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
