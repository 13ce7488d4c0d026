#!/usr/bin/env bash
# Drives a built service, scrapes it with a Prometheus that has the rules loaded, and checks that every series that a
# rule, a dashboard or a runbook asks for is there. Installs what it needs. Everything runs on free ports of this
# machine, and what is started is stopped by its process id.
set -euo pipefail

cd "$(dirname "$0")/.."
root=$PWD
seconds=120 # how long the series may take to arrive
scripts/install-tools.sh prometheus
scripts/install-postgres.sh >/dev/null
as_root() {
    if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}
if ! command -v openssl >/dev/null; then
    as_root apt-get -o DPkg::Lock::Timeout=300 update </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends openssl </dev/null
fi
scripts/build-debug.sh
goldbook=$root/target/debug/goldbook

# The service is set up by this script alone, whatever the shell is set up for, but for the Postgres that is tried.
while IFS= read -r name; do
    if [[ $name != GOLDBOOK_POSTGRES_BIN ]]; then unset "$name"; fi
done < <(compgen -e | grep -E '^(GOLDBOOK|OTEL)_' || true)

# TMPDIR is not used: its path may be too long for a socket. Postgres, which is no root's, has to get through.
directory=$(mktemp -d /tmp/goldbook-watch.XXXXXX)
chmod 711 "$directory"
service=''
prometheus=''
# shellcheck disable=SC2317 # called by the trap
clean_up() {
    local status=$?
    for process in $prometheus $service; do kill -TERM "$process" 2>/dev/null || true; done
    for process in $prometheus $service; do wait "$process" 2>/dev/null || true; done
    if [[ $status -ne 0 ]]; then tail -n 20 "$directory"/*.log "$directory/driven" >&2 2>/dev/null || true; fi
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits until a command succeeds: await WHAT PROCESS COMMAND...
await() {
    local what=$1 process=$2 end=$((SECONDS + seconds))
    shift 2
    until "$@"; do
        if ! kill -0 "$process" 2>/dev/null || [[ $SECONDS -ge $end ]]; then
            echo "$what did not come about" >&2
            return 1
        fi
        sleep 0.2
    done
}

# A certificate that leads to a root of its own, and expires soon.
make_certificate() (
    cd "$directory"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 -subj /CN=root \
        -addext keyUsage=keyCertSign -keyout root.key -out root.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=goldbook -keyout tls.key -out tls.csr
    openssl x509 -req -in tls.csr -CA root.pem -CAkey root.key -CAcreateserial -days 10 -out tls.pem \
        -extfile <(printf 'subjectAltName = IP:127.0.0.1\nextendedKeyUsage = serverAuth\n')
) 2>/dev/null
make_certificate

printf '[limits.auditor]\nreads = { per_second = 1, burst = 1 }\n' >"$directory/goldbook.toml"

# The collector is at a port where nobody listens, so spans are made and dropped.
OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 "$goldbook" serve --config "$directory/goldbook.toml" \
    --data-dir "$directory/data" --throwaway-database --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 \
    --api-keys --liability-seconds 1 --tls-certificate "$directory/tls.pem" --tls-key "$directory/tls.key" \
    </dev/null 2>"$directory/service.log" &
service=$!

# The address in a line of the service's log.
address_of() {
    grep -sF "\"message\":\"$1\"" "$directory/service.log" | sed -n 's/.*"address":"\([^"]*\)".*/\1/p'
}
listens() { [[ -n $(address_of listening) && -n $(address_of 'metrics and probes') ]]; }
await 'the start of the service' "$service" listens
GOLDBOOK_ADDRESS=https://$(address_of listening)
export GOLDBOOK_ADDRESS GOLDBOOK_CA="$directory/root.pem" GOLDBOOK_DATA_DIR="$directory/data"

cat >"$directory/prometheus.yml" <<END
global: { scrape_interval: 1s, evaluation_interval: 1s }
rule_files: ['$root/charts/goldbook/rules/goldbook.yaml']
scrape_configs:
  - job_name: goldbook
    static_configs:
      - targets: ['$(address_of 'metrics and probes')']
        labels: { namespace: watch }
END
prometheus --config.file="$directory/prometheus.yml" --storage.tsdb.path="$directory/prometheus" \
    --web.listen-address=127.0.0.1:0 --enable-feature=exemplar-storage </dev/null 2>"$directory/prometheus.log" &
prometheus=$!
prometheus_address() { sed -n 's/.*msg="Listening on" address=\([^ ]*\).*/\1/p' "$directory/prometheus.log"; }
scrapes() { [[ -n $(prometheus_address) ]]; }
await 'the start of Prometheus' "$prometheus" scrapes

export GOLDBOOK_TOKEN
# What callers do: all that shows in series. What is expected to be refused is.
drive() {
    "$goldbook" wait
    GOLDBOOK_TOKEN=$("$goldbook" key create driver --role admin --expires-after 10d)

    # In the second program each customer has one purchase, whose points have expired, and nothing comes after.
    local purchases=examples/cdnow/purchases.csv few=$directory/few.csv once=$directory/once.csv
    head -n 300 "$purchases" >"$few"
    awk -F, 'NR == 1 || (!seen[$2]++ && NR < 300)' "$purchases" >"$once"
    sed -e 's/^program_id = .*/program_id = "expiring"/' -e 's/^point_value = .*/&\nexpiry = { after = "P30D" }/' \
        examples/cdnow/program.toml >"$directory/expiring.toml"
    "$goldbook" program apply examples/cdnow/program.toml
    "$goldbook" program apply "$directory/expiring.toml"
    "$goldbook" import purchases --program cdnow "$few"
    "$goldbook" import purchases --program expiring "$once"

    "$goldbook" demo --program cdnow
    "$goldbook" customer --program cdnow C0001
    "$goldbook" statement --program cdnow C0001
    "$goldbook" export --program cdnow --output "$directory/entries.csv"
    "$goldbook" customer export --program cdnow --customer C0001 --output "$directory/C0001.json"
    must_fail "$goldbook" customer --program cdnow nobody
    must_fail env -u GOLDBOOK_TOKEN "$goldbook" customer --program cdnow C0001
    local auditor
    auditor=$("$goldbook" key create auditor --role auditor)
    must_fail env GOLDBOOK_TOKEN="$auditor" "$goldbook" customer --program cdnow C0001
    call_unknown_method

    "$goldbook" audit
    "$goldbook" audit --since-last
}
# A method that does not exist is answered with a status that counts as a fault. No command calls one.
call_unknown_method() {
    python3 - "$GOLDBOOK_ADDRESS/goldbook.v1.TierService/NoSuchMethod" <<'END'
import os, ssl, sys, urllib.request

headers = {"content-type": "application/grpc-web+proto", "authorization": f"Bearer {os.environ['GOLDBOOK_TOKEN']}"}
request = urllib.request.Request(sys.argv[1], data=bytes(5), headers=headers)
context = ssl.create_default_context(cafile=os.environ["GOLDBOOK_CA"])
with urllib.request.urlopen(request, context=context, timeout=10) as answer:
    print(answer.status, answer.headers, answer.read())
END
}
must_fail() {
    if "$@"; then
        echo "this should have been refused: $*" >&2
        return 1
    fi
}
# Not in a condition, where a failure would not end it.
drive >"$directory/driven" 2>&1

# Again until all is there: a scrape, an evaluation and a look of the service at its gauges come after what they show.
# Callers go on meanwhile, since a rate needs a series that grows between two scrapes.
check() {
    {
        "$goldbook" demo --program cdnow
        "$goldbook" customer --program cdnow C0001
    } >>"$directory/driven" 2>&1
    python3 -B scripts/check-series.py --prometheus "http://$(prometheus_address)" charts/goldbook/dashboards/*.json \
        docs/runbooks/*.md >"$directory/checked" 2>&1
}
await 'what rules, dashboards and runbooks ask for' "$service" check || {
    cat "$directory/checked" >&2
    exit 1
}
cat "$directory/checked"
