#!/usr/bin/env bash
# Writes target/sbom/goldbook.cdx.json: all that the program is built from, with versions, licences and checksums, in the form
# of CycloneDX. Fails if it lacks a crate that Cargo links into the program, or says of one that it is another version.
set -euo pipefail

cd "$(dirname "$0")/.."
folder=target/sbom
mkdir -p "$folder"

# The tool writes beside each manifest.
clean_up() { rm -f goldbook.cdx.json crates/*/*.cdx.json; }
trap clean_up EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5
# Packages of this repository are named by where they stand; that is nobody's business.
sed "s|path+file://$PWD|path+file:///goldbook|g" goldbook.cdx.json >"$folder/goldbook.cdx.json"

linked=$(cargo tree --locked --package goldbook --edges normal --prefix none --format '{p}' |
    sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1@\2/p' | sort -u)
python3 - "$folder/goldbook.cdx.json" "$linked" <<'CHECK'
import json
import sys

listed = json.load(open(sys.argv[1], encoding="utf-8"))
known = {f"{part['name']}@{part['version']}" for part in [listed["metadata"]["component"], *listed["components"]]}
linked = set(sys.argv[2].split())
missing = sorted(linked - known)
if missing or len(linked) < 100:
    sys.exit(f"of {len(linked)} crates these are missing: {' '.join(missing)}")
print(f"{sys.argv[1]}: {len(known)} crates, among them all {len(linked)} that are linked")
CHECK
