#!/usr/bin/env bash
# Finds the programs of PostgreSQL 15 or newer, or installs them with the system's package manager.
# Prints their folder, and nothing else, on standard output.
set -euo pipefail

oldest=15

say() { printf '%s\n' "$*" >&2; }

# The major version in a folder, or nothing where `postgres` or `initdb` is missing.
major_in() {
    [[ -x $1/postgres && -x $1/initdb ]] || return 0
    "$1/postgres" --version 2>/dev/null | sed -n 's/^[^0-9]*(PostgreSQL) \([0-9][0-9]*\).*/\1/p'
}

# The folders where Goldbook itself looks, see crates/embedded-postgres/src/binaries.rs.
candidates() {
    if [[ -n ${GOLDBOOK_POSTGRES_BIN:-} ]]; then
        printf '%s\n' "$GOLDBOOK_POSTGRES_BIN"
        return
    fi
    pg_config --bindir 2>/dev/null || true
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin
    printf '%s\n' /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin
    tr ':' '\n' <<<"$PATH"
}

# The folder of the newest version that is new enough, or nothing.
find_bin_dir() {
    local newest=0 found='' bin_dir major
    while IFS= read -r bin_dir; do
        major=$(major_in "$bin_dir")
        if [[ -n $major && $major -ge $oldest && $major -gt $newest ]]; then
            newest=$major
            found=$bin_dir
        fi
    done < <(candidates)
    printf '%s\n' "$found"
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" </dev/null >&2
}

install_with_apt() {
    say 'PostgreSQL is not installed: installing it with apt-get'
    as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null >&2
    # The package would set up and start a server, and only its programs are wanted. A setting that the machine's owner
    # has made stays.
    apt_install postgresql-common
    local settings=/etc/postgresql-common/createcluster.conf
    if ! grep -Eqs '^[[:space:]]*create_main_cluster' "$settings"; then
        printf 'create_main_cluster = false\n' | as_root tee -a "$settings" >/dev/null
    fi
    local package
    package=$(apt-cache search --names-only '^postgresql-[0-9]+$' | cut -d' ' -f1 | sort -t- -k2n | tail -n 1)
    if [[ -z $package || ${package#postgresql-} -lt $oldest ]]; then
        say "this system offers no PostgreSQL $oldest or newer: install it from the PostgreSQL project's own packages" \
            '(/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh adds them)'
        exit 1
    fi
    apt_install "$package"
}

bin_dir=$(find_bin_dir)
if [[ -z $bin_dir && -n ${GOLDBOOK_POSTGRES_BIN:-} ]]; then
    say "GOLDBOOK_POSTGRES_BIN=$GOLDBOOK_POSTGRES_BIN does not hold postgres and initdb of version $oldest or newer"
    exit 1
fi
if [[ -z $bin_dir ]]; then
    if command -v apt-get >/dev/null; then
        install_with_apt
    elif command -v brew >/dev/null; then
        say 'PostgreSQL is not installed: installing it with brew'
        brew install postgresql@17 </dev/null >&2
    else
        say "install PostgreSQL $oldest or newer (the server, with initdb) with this system's package manager"
        exit 1
    fi
    bin_dir=$(find_bin_dir)
fi
if [[ -z $bin_dir ]]; then
    say "PostgreSQL was installed, but postgres and initdb are not found: set GOLDBOOK_POSTGRES_BIN to their folder"
    exit 1
fi
printf '%s\n' "$bin_dir"
