#!/usr/bin/env bash
# Runs a command with DATABASE_URL naming a new, migrated database, and removes the database afterwards:
#   scripts/with-database.sh cargo sqlx prepare -- --all-targets
set -euo pipefail

cd "$(dirname "$0")/.."
if [[ $# -eq 0 ]]; then
    echo 'usage: scripts/with-database.sh COMMAND [ARGUMENT...]' >&2
    exit 2
fi
bin_dir=$(scripts/install-postgres.sh)

# Postgres refuses to run as root.
account=''
if [[ $(id -u) -eq 0 ]]; then
    if id postgres >/dev/null 2>&1; then account=postgres; else account=nobody; fi
fi
server_command() (
    # That user may not be able to enter the current directory.
    cd /
    if [[ -z $account ]]; then
        "$@"
    elif command -v runuser >/dev/null; then
        runuser -u "$account" -- "$@"
    else
        sudo -u "$account" -- "$@"
    fi
)

# TMPDIR is not used: its path may be closed to that user, or too long for a socket.
directory=$(mktemp -d /tmp/goldbook-database.XXXXXX)
clean_up() {
    if [[ -f $directory/data/postmaster.pid ]]; then
        server_command "$bin_dir/pg_ctl" -D "$directory/data" -m immediate -s stop || true
    fi
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [[ -n $account ]]; then chown "$account" "$directory"; fi

# The database is thrown away, so nothing waits for the disk.
output=$(server_command "$bin_dir/initdb" -D "$directory/data" -U postgres --encoding=UTF8 --locale=C --no-sync \
    --auth-local=trust --auth-host=reject --no-instructions 2>&1) || {
    printf '%s\n' "$output" >&2
    exit 1
}
server_command "$bin_dir/pg_ctl" -D "$directory/data" -l "$directory/postgres.log" -w -s \
    -o "-c listen_addresses='' -c unix_socket_directories=$directory -c port=5432 -c fsync=off" start || {
    cat "$directory/postgres.log" >&2
    exit 1
}

psql() { "$bin_dir/psql" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --host "$directory" --port 5432 "$@"; }
# The embedded Postgres has the same roles and database.
psql --username postgres --dbname postgres \
    --command 'CREATE ROLE goldbook_owner LOGIN' \
    --command 'CREATE ROLE goldbook_service LOGIN' \
    --command 'CREATE DATABASE goldbook OWNER goldbook_owner'
# The service runs its migrations in the same way: in the order of their numbers, each in its own transaction.
find migrations -name '*.sql' -exec basename {} \; | sort -n | while IFS= read -r migration; do
    psql --username goldbook_owner --dbname goldbook --single-transaction --file "migrations/$migration" </dev/null
done

DATABASE_URL="postgres://goldbook_owner@${directory//\//%2F}:5432/goldbook"
export DATABASE_URL
"$@"
