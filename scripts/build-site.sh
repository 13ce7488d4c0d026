#!/usr/bin/env bash
# Builds the documentation site into target/site: the pages that docs/SUMMARY.md lists, and a reference made from the
# protos. Checks that no link of it is broken, that it loads nothing from another host, and that the reference is
# complete. Installs what it needs below target/tools.
set -euo pipefail

cd "$(dirname "$0")/.."
scripts/install-tools.sh buf mdbook mermaid
tools=target/tools
source=target/site-source
descriptors="$source/descriptors.json"
export PYTHONDONTWRITEBYTECODE=1

rm -rf "$source" target/site
mkdir -p "$source/src/mermaid"
"$tools/bin/buf" build --as-file-descriptor-set --output "$descriptors#format=json"
cp docs/book.toml docs/site.css "$source/"
cp "$tools/mermaid/package/dist/mermaid.min.js" "$tools/mermaid/package/LICENSE" "$source/src/mermaid/"
python3 scripts/site/main.py gather "$descriptors" "$source/src"
MDBOOK_LOG=warn "$tools/bin/mdbook" build --dest-dir "$PWD/target/site" "$source"
python3 scripts/site/main.py check "$descriptors" target/site
