#!/usr/bin/env bash
# Measures how long a service takes from the start of its process until it serves: on a database that is there and migrated,
# with and without an owner to migrate it, and with a database of its own. Prints the median, the least and the most of so
# many starts, in milliseconds, as told from outside and, in brackets, the median by the service's own log.
# Usage: measure-start.sh PROGRAM [STARTS]
set -euo pipefail

program=$1
starts=${2:-21}
directory=$(mktemp -d)
# The user who runs Postgres for root gets through.
chmod 711 "$directory"
keeper=''
service=''

finish() {
    for pid in $service $keeper; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" || true
    done
    rm -rf "$directory"
}
trap finish EXIT

quiet=(--listen 127.0.0.1:0 --dues-ms 0 --liability-seconds 0 --retention-minutes 0)

# Starts a service in the background, and leaves its process in `service` and the lines of its log, up to the one that says
# that it serves, in the file `told`. Prints the microseconds until then.
start() {
    local begun ended line
    mkfifo "$directory/log"
    begun=${EPOCHREALTIME/[.,]/}
    env -u GOLDBOOK_DATABASE_URL -u GOLDBOOK_OWNER_DATABASE_URL GOLDBOOK_ADMIN_LISTEN=127.0.0.1:0 \
        "$program" serve "${quiet[@]}" "$@" 2>"$directory/log" &
    service=$!
    exec 3<"$directory/log"
    rm "$directory/log"
    while IFS= read -r line <&3; do
        if [[ $line == *'"serving"'* ]]; then
            ended=${EPOCHREALTIME/[.,]/}
            [[ $line =~ \"milliseconds\":([0-9]+) ]]
            printf '%s %s\n' "$((ended - begun))" "${BASH_REMATCH[1]}" >>"$directory/times"
            return
        fi
        last=$line
    done
    echo "the service ended before it served: ${last:-}" >&2
    exit 1
}

stop() {
    kill -TERM "$service"
    cat <&3 >/dev/null
    wait "$service" || true
    service=''
    exec 3<&-
}

# Starts and stops a service so often, and prints how long the starts took.
measure() {
    local name=$1 count
    shift
    : >"$directory/times"
    for ((count = 0; count < starts; count++)); do
        start "$@"
        stop
    done
    sort -n "$directory/times" | awk -v name="$name" '
        { outside[NR] = $1 / 1000; own[NR] = $2 }
        END {
            middle = int((NR + 1) / 2)
            printf "%-34s %7.1f %7.1f %7.1f  (%d)\n", name, outside[middle], outside[1], outside[NR], own[middle]
        }'
}

printf '%-34s %7s %7s %7s\n' "ms of $starts starts" median least most
start --data-dir "$directory/data"
keeper=$service
service=''
socket=$(realpath "$directory/data/socket")
socket=${socket//\//%2F}
url() { printf 'postgres://%s@%s:5432/goldbook?sslmode=disable' "$1" "$socket"; }
exec 4<&3
measure 'existing database' --database-url "$(url goldbook_service)"
measure 'existing database, with its owner' --database-url "$(url goldbook_service)" \
    --owner-database-url "$(url goldbook_owner)"
kill -TERM "$keeper"
cat <&4 >/dev/null
wait "$keeper" || true
keeper=''
measure 'own database, which is there' --data-dir "$directory/data"
