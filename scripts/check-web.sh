#!/usr/bin/env bash
# Calls a built service from pages in a headless Chromium, by a TypeScript client that is generated from the protos.
# Installs what it needs with apt-get and npm.
set -euo pipefail

cd "$(dirname "$0")/.."
scripts/install-tools.sh buf

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

find_chromium() { command -v chromium || command -v chromium-browser || command -v google-chrome || true; }

chromium=$(find_chromium)
if [[ -z $chromium ]]; then
    if ! command -v apt-get >/dev/null; then
        echo "install Chromium with this system's package manager" >&2
        exit 1
    fi
    as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium </dev/null
    chromium=$(find_chromium)
fi

scripts/build-debug.sh

# Built apart from the sources, so that what npm installs stands below target.
site=target/web
mkdir -p "$site/page"
cp examples/web/*.{json,mjs,ts,yaml} "$site/"
cp examples/web/page/index.html "$site/page/"
(
    cd "$site"
    # Installed again only where the lock has changed.
    if ! cmp -s package-lock.json node_modules/.installed; then
        npm ci --no-audit --no-fund --loglevel error
        cp package-lock.json node_modules/.installed
    fi
    rm -rf gen
    ../tools/bin/buf generate ../../proto
    npm run --silent types
    npm run --silent bundle
)
node "$site/check.mjs" target/debug/goldbook "$chromium" examples/cdnow/program.toml
