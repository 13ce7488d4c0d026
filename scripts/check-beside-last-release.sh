#!/usr/bin/env bash
# Runs the last release beside this version on one database, both ways round, under a load that both write:
#   scripts/check-beside-last-release.sh                 the nearest tag v* that this commit descends from, which is built
#   OLD=program scripts/check-beside-last-release.sh     this program as the last release
#   NEW=program scripts/check-beside-last-release.sh     this program as the new version
# Each write must be acknowledged, or be so when it is repeated; and both versions' audits must find nothing. Where there is
# no release and no OLD, the new version stands in for it: so the check itself is tried.
set -euo pipefail

cd "$(dirname "$0")/.."
if [[ -z ${DATABASE_URL:-} ]]; then
    exec scripts/with-database.sh "$0"
fi
bin_dir=$(scripts/install-postgres.sh)

directory=$(mktemp -d)
services=()
clean_up() {
    local service
    for service in "${services[@]}"; do kill "$service" 2>/dev/null || true; done
    for service in "${services[@]}"; do wait "$service" 2>/dev/null || true; done
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

new=${NEW:-}
if [[ -z $new ]]; then
    scripts/build-debug.sh
    new=$PWD/target/debug/goldbook
fi
old=${OLD:-$(scripts/build-last-release.sh)}
if [[ -z $old ]]; then
    echo 'the new version stands in for the last release'
    old=$new
fi

# A database of its own in the same Postgres, which only goldbook migrates.
socket=${DATABASE_URL#*@}
socket=${socket%%:*}
"$bin_dir/psql" --no-psqlrc --quiet --host "${socket//%2F//}" --port 5432 --username postgres --dbname postgres \
    --command 'CREATE DATABASE beside OWNER goldbook_owner'
owner_url=postgres://goldbook_owner@$socket:5432/beside
service_url=postgres://goldbook_service@$socket:5432/beside

# Starts a service; its process and its address are in the variables `service` and `address` then.
start() {
    local log=$directory/log-${#services[@]}
    # It is looked at before the service may have opened it.
    : >"$log"
    env GOLDBOOK_ADMIN_LISTEN=off GOLDBOOK_OWNER_DATABASE_URL="$owner_url" "$1" serve --listen 127.0.0.1:0 --database-url "$service_url" \
        >/dev/null 2>"$log" &
    service=$!
    services+=("$service")
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        address=$(sed -n '/"listening"/ s/.*"address":"\([^"]*\)".*/\1/p' "$log")
        if [[ -n $address ]]; then
            address=http://$address
            return
        fi
        kill -0 "$service" 2>/dev/null || break
        sleep 0.1
    done
    cat "$log" >&2
    echo "$1 does not serve" >&2
    exit 1
}
stop() {
    kill -TERM "$1"
    wait "$1"
}

# What one client does: the purchases of some customers, each as often as the book must know it once, and a whole story.
load() {
    local program=$1 address=$2 part=$3 round=$4
    "$program" import purchases --address "$address" --program cdnow "$directory/purchases-$part-$round.csv" &&
        "$program" demo --address "$address" --program cdnow
}
# Has each of the given services called by a client of its own version, all at the same time; the same customers by all.
round=0
load_all() {
    round=$((round + 1))
    local clients=() part=0 lines
    while [[ $# -gt 0 ]]; do
        part=$((part + 1))
        lines=$(((round * 2 + part) * 300))
        awk -v last="$lines" 'NR == 1 || (NR > last - 900 && NR <= last)' examples/cdnow/purchases.csv \
            >"$directory/purchases-$part-$round.csv"
        load "$1" "$2" "$part" "$round" >"$directory/load-$part-$round" 2>&1 &
        clients+=($!)
        shift 2
    done
    local client failed=''
    for client in "${clients[@]}"; do wait "$client" || failed=yes; done
    if [[ -n $failed ]]; then
        cat "$directory"/load-*-"$round" >&2
        echo 'a call was refused' >&2
        exit 1
    fi
}

"$old" migrate --database-url "$owner_url"
start "$old"
first=$service first_address=$address
"$old" program apply --address "$first_address" examples/cdnow/program.toml >/dev/null
load_all "$old" "$first_address"

echo 'the new version migrates, and serves beside the old one'
"$new" migrate --database-url "$owner_url"
start "$new"
second=$service second_address=$address
load_all "$old" "$first_address" "$new" "$second_address"

echo 'the old version ends'
stop "$first"
load_all "$new" "$second_address"

echo 'the old version comes back, and migrates too'
"$old" migrate --database-url "$owner_url"
start "$old"
first=$service first_address=$address
load_all "$new" "$second_address" "$old" "$first_address"

echo 'the new version ends'
stop "$second"
load_all "$old" "$first_address"
stop "$first"

echo 'both audit'
"$new" audit --database-url "$service_url"
# What the old version cannot compare it counts apart.
if ! "$old" audit --database-url "$service_url" >"$directory/audit" 2>&1; then
    grep -q 'nothing else differs' "$directory/audit" || {
        cat "$directory/audit" >&2
        exit 1
    }
fi
cat "$directory/audit"
echo 'the two versions live beside each other'
