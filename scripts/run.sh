#!/usr/bin/env bash
# Starts the built service with its own database, and ends when the service ends. The first start imports the sample.
set -euo pipefail

cd "$(dirname "$0")/.."
goldbook=target/release/goldbook
data_dir=.goldbook
# The service uses its own database, whatever the shell is set up for.
unset GOLDBOOK_DATABASE_URL GOLDBOOK_OWNER_DATABASE_URL
imported=$data_dir/cdnow-imported
listen=${GOLDBOOK_LISTEN:-127.0.0.1:50051}

# A service that listens on every address is called on this machine's own.
case $listen in
0.0.0.0:* | '[::]:'*) address=http://127.0.0.1:${listen##*:} ;;
*) address=http://$listen ;;
esac

# Without this check another service at this address would be taken for ours and be given the purchases.
host=${address#http://}
port=${host##*:}
host=${host%:*}
host=${host#[}
if (exec 3<>"/dev/tcp/${host%]}/$port") 2>/dev/null; then
    echo "something listens on $listen already: stop it, or choose another address with GOLDBOOK_LISTEN" >&2
    exit 1
fi

service=''
client=''
interrupted='' # a signal came since the last look
stopping=''    # a signal came at all
# shellcheck disable=SC2317 # called by the trap
pass_on() {
    interrupted=yes
    stopping=yes
    if [[ -n $client ]]; then kill -TERM "$client" 2>/dev/null || true; fi
    if [[ -n $service ]]; then kill -TERM "$service" 2>/dev/null || true; fi
}
trap pass_on INT TERM

# Waits until a child ends, and returns its status. A signal interrupts `wait`, which is then called again.
wait_for() {
    local status=0 last
    while :; do
        interrupted=''
        last=0
        wait "$1" 2>/dev/null || last=$?
        # 127: the child ended while the signal came, so there is nothing left to wait for.
        if [[ $last -ne 127 ]]; then status=$last; fi
        if [[ -z $interrupted || $last -eq 127 ]]; then return "$status"; fi
    done
}

# Waits for the service, and ends with its status.
finish() {
    local status=0
    wait_for "$service" || status=$?
    exit "$status"
}

give_up() {
    printf '%s\n' "$*" >&2
    kill -TERM "$service" 2>/dev/null || true
    wait_for "$service" || true
    exit 1
}

# Runs one command of the client so that a signal reaches it too.
run_client() {
    local status=0
    "$goldbook" "$@" &
    client=$!
    wait_for "$client" || status=$?
    client=''
    if [[ -n $stopping ]]; then finish; fi
    return "$status"
}

# The service has a process group of its own. A Ctrl-C then reaches this script alone, which passes it on once.
set -m
"$goldbook" serve --data-dir "$data_dir" --listen "$listen" </dev/null &
service=$!
set +m

"$goldbook" wait --address "$address" --seconds 60 &
client=$!
while kill -0 "$client" 2>/dev/null; do
    if [[ -n $stopping ]]; then finish; fi
    if ! kill -0 "$service" 2>/dev/null; then
        kill -TERM "$client" 2>/dev/null || true
        status=0
        wait_for "$service" || status=$?
        printf 'goldbook ended while starting (status %s); the reason is printed above\n' "$status" >&2
        if [[ $status -eq 0 ]]; then status=1; fi
        exit "$status"
    fi
    sleep 0.1
done
healthy=0
wait_for "$client" || healthy=$?
client=''
if [[ -n $stopping ]]; then finish; fi
if [[ $healthy -ne 0 ]]; then give_up 'goldbook did not become healthy within 60 seconds'; fi

if [[ ! -e $imported ]]; then
    run_client program apply --address "$address" examples/cdnow/program.toml || give_up 'the program was not applied'
    run_client import purchases --address "$address" --program cdnow examples/cdnow/purchases.csv ||
        give_up 'not all purchases were imported; the next start imports the rest'
    : >"$imported"
fi

where=''
if [[ $address != http://127.0.0.1:50051 ]]; then where=" --address $address"; fi
cat <<END

Goldbook listens on $listen. Ctrl-C stops it. Try in another terminal:

  $goldbook customer C0001$where
  $goldbook demo$where
  $goldbook bench --help

END
finish
