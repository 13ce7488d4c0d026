#!/usr/bin/env bash
# Runs what an image holds as docker-compose.yaml runs it: as its user, without capabilities, on a root file system that
# nobody can write to, as the first process of its own. scripts/check-image.sh starts this as root in a new network.
#   scripts/try-image.sh ROOT POSTGRES_FOLDER PYTHON COMMIT
set -euo pipefail

cd "$(dirname "$0")/.."
root=$1 bin_dir=$2 python=$3 commit=$4
user=65532
ip link set lo up

fail() {
    printf '%s\n' "$@" >&2
    if [[ -s $directory/service.log ]]; then tail -n 20 "$directory/service.log" >&2; fi
    exit 1
}

# Postgres refuses to run as root.
if id postgres >/dev/null 2>&1; then account=postgres; else account=nobody; fi
directory=$(mktemp -d /tmp/goldbook-image.XXXXXX)
chown "$account" "$directory"
as_postgres() (cd / && exec runuser -u "$account" -- "$@")
serving=''
clean_up() {
    if [[ -n $serving ]]; then kill -KILL "$serving" 2>/dev/null || true; fi
    if [[ -f $directory/data/postmaster.pid ]]; then
        as_postgres "$bin_dir/pg_ctl" -D "$directory/data" -m immediate -s stop || true
    fi
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

as_postgres "$bin_dir/initdb" -D "$directory/data" -U postgres --encoding=UTF8 --locale=C --no-sync --auth=trust \
    >"$directory/initdb.log"
as_postgres "$bin_dir/pg_ctl" -D "$directory/data" -l "$directory/postgres.log" -w -s \
    -o "-c listen_addresses=127.0.0.1 -c port=5432 -c unix_socket_directories=$directory -c fsync=off" start
# The file that the Postgres of Compose reads at its first start.
"$bin_dir/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --host 127.0.0.1 --username postgres \
    --file examples/compose/roles.sql

# Runs the image's program: in_image VARIABLE=VALUE... -- ARGUMENT.... Its /tmp shows the examples.
in_image() {
    local variables=()
    while [[ $1 != -- ]]; do
        variables+=("$1")
        shift
    done
    shift
    # shellcheck disable=SC2016 # the inner shell's variables
    exec unshare --mount --pid --fork --kill-child bash -c '
        set -euo pipefail
        root=$1 user=$2 count=$3
        shift 3
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount --bind examples "$root/tmp"
        mount -o remount,bind,ro "$root/tmp"
        exec env -i "${@:1:count}" "$(command -v setpriv)" --clear-groups --no-new-privs \
            "$(command -v unshare)" --root "$root" --wd /home/goldbook --setgid "$user" --setuid "$user" \
            /usr/bin/goldbook "${@:count+1}"
    ' in_image "$root" "$user" "${#variables[@]}" "${variables[@]}" "$@"
}
# A service of docker-compose.yaml, with what the image sets: start_of NAME fills `words`.
start_of() {
    mapfile -d '' -t words < <(printf 'GOLDBOOK_LISTEN=0.0.0.0:50051\0' && "$python" scripts/check-compose.py start "$1")
}

echo 'the version that it was built from'
told=$(in_image -- --version --verbose)
[[ $told == *"commit $commit"* && $told == *'profile release'* ]] || fail 'not the commit or profile that it was built from:' "$told"

echo 'without a database, or anything by which callers are known, it says what is missing'
if told=$( (in_image GOLDBOOK_LISTEN=0.0.0.0:50051 -- serve) 2>&1); then fail 'it started for everybody'; fi
[[ $told == *--api-keys* && $told == *--tls-certificate* ]] || fail 'it does not say how to start it:' "$told"
if told=$( (in_image -- serve) 2>&1); then fail 'it started without a database'; fi
[[ $told == *--database-url* ]] || fail 'it does not say that it needs a database:' "$told"

echo 'migrate'
start_of migrate
(in_image "${words[@]}") 2>"$directory/service.log" || fail 'migrate failed'

echo 'serve'
start_of goldbook
(in_image "${words[@]}") 2>"$directory/service.log" &
serving=$!
start_of client
client=("${words[@]}")
(in_image "${client[@]}" wait --seconds 30) || fail 'the service does not answer'
# Its first process is the program itself, seen from here as the child of what made its place.
service=$(ps -o pid= --ppid "$serving" | tr -d ' ')
status=$(cat "/proc/$service/status")
for line in "NSpid:.*[[:space:]]1" "Uid:[[:space:]]$user" 'Groups:[[:space:]]*' 'CapEff:[[:space:]]0*' 'NoNewPrivs:[[:space:]]1'; do
    grep -qE "^$line([[:space:]]|$)" <<<"$status" || fail "the process is not as it should be: $line" "$status"
done

echo 'calls'
start_of goldbook
# As `docker compose run goldbook key …`: the same variables, and another command.
variables=()
for word in "${words[@]}"; do
    if [[ $word == -- ]]; then break; fi
    variables+=("$word")
done
token=$(in_image "${variables[@]}" -- key create first --role admin) || fail 'no key was made'
(in_image GOLDBOOK_TOKEN="$token" "${client[@]}" program apply /tmp/cdnow/program.toml) >/dev/null || fail 'the program was not applied'
(in_image GOLDBOOK_TOKEN="$token" "${client[@]}" import purchases --program cdnow /tmp/cdnow/purchases.csv) >/dev/null ||
    fail 'the purchases were not imported'
told=$(in_image GOLDBOOK_TOKEN="$token" "${client[@]}" customer C0001) || fail 'the customer is not known'
[[ $told == *C0001* ]] || fail 'the answer is about somebody else:' "$told"
if (in_image "${client[@]}" customer C0001) &>/dev/null; then fail 'somebody without a key was answered'; fi

echo 'SIGTERM'
kill -TERM "$service"
# 30 seconds are what Compose gives it.
for _ in $(seq 300); do
    if ! kill -0 "$service" 2>/dev/null; then break; fi
    sleep 0.1
done
if kill -0 "$service" 2>/dev/null; then fail 'SIGTERM did not end it within 30 seconds'; fi
wait "$serving" || fail "it ended with status $? after SIGTERM"
serving=''
