#!/usr/bin/env bash
# Restarts two replicas of a built service one after the other, under the load of a stock client, Python's grpcio, with the
# service config of docs/clients.md: no call may fail, and nothing acknowledged may be lost. Installs what it needs with pip.
set -euo pipefail

cd "$(dirname "$0")/.."

scripts/install-python-client.sh
client=target/python-client

scripts/build-debug.sh
PYTHONPATH="$client/stubs" "$client/python/bin/python" scripts/rolling_restart.py target/debug/goldbook
