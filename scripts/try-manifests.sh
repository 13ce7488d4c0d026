#!/usr/bin/env bash
# Runs what an image holds as the pods of the chart have it, and probes it as their probes do, see
# scripts/check-manifests/main.py. scripts/check-image.sh starts this as root in a new network.
#   scripts/try-manifests.sh ROOT POSTGRES_FOLDER PYTHON [NAME...]
set -euo pipefail

cd "$(dirname "$0")/.."
root=$1 bin_dir=$2 python=$3
shift 3
ip link set lo up
# The database's address, and that of a pod.
ip address add 10.20.0.2/32 dev lo
ip address add 10.20.0.3/32 dev lo
# Its threads ask while programs are started, which concerns nobody.
export GRPC_ENABLE_FORK_SUPPORT=0
PYTHONDONTWRITEBYTECODE=1 exec "$python" scripts/check-manifests/main.py "$root" "$bin_dir" "$@"
