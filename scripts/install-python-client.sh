#!/usr/bin/env bash
# Installs a stock gRPC client, Python's grpcio, below target/python-client, with stubs of this version's protos:
#   PYTHONPATH=target/python-client/stubs target/python-client/python/bin/python ...
set -euo pipefail

cd "$(dirname "$0")/.."

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

packages=(grpcio==1.76.0 grpcio-tools==1.76.0 googleapis-common-protos==1.72.0)
site=target/python-client
mkdir -p "$site"
# Installed again only where the versions have changed.
if [[ $(cat "$site/.installed" 2>/dev/null) != "${packages[*]}" ]]; then
    rm -rf "$site/python"
    if ! python3 -m venv "$site/python"; then
        if ! command -v apt-get >/dev/null; then
            echo "install Python's venv with this system's package manager" >&2
            exit 1
        fi
        as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends python3-venv </dev/null
        python3 -m venv --clear "$site/python"
    fi
    "$site/python/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"
    echo "${packages[*]}" >"$site/.installed"
fi
rm -rf "$site/stubs"
mkdir "$site/stubs"
"$site/python/bin/python" -m grpc_tools.protoc -I proto --python_out="$site/stubs" --grpc_python_out="$site/stubs" \
    proto/goldbook/v1/*.proto
