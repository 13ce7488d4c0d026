#!/usr/bin/env bash
# Checks that migrations take no lock for long and leave an older version alone, as docs/upgrades.md says:
#   scripts/check-migrations.sh            those that are in no release yet
#   scripts/check-migrations.sh FILE...    these
# The last release is the nearest tag v* that this commit descends from. Where there is none, all tables are new to
# everybody, so the script says so and succeeds.
set -euo pipefail

cd "$(dirname "$0")/.."

files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
    if [[ -z $(git tag --merged HEAD --list 'v[0-9]*') ]]; then
        echo 'migrations are not checked: no release v* is among the ancestors of this commit'
        exit 0
    fi
    release=$(git describe --tags --abbrev=0 --match 'v[0-9]*')
    for file in migrations/*.sql; do
        if ! released=$(git rev-parse --verify --quiet "$release:$file"); then
            files+=("$file")
        elif [[ $released != "$(git hash-object "$file")" ]]; then
            echo "$file: it is in $release, and a migration never changes after that" >&2
            exit 1
        fi
    done
    if [[ ${#files[@]} -eq 0 ]]; then
        echo "there is no migration since $release"
        exit 0
    fi
fi

# Each of these is found where a statement begins, in a file without its comments and on one line. They are what squawk
# does not know: what rows are sent as, and statements that go through a table.
refused=(
    'alter type [^;]* (add|drop|alter|rename) attribute|rows are sent as this type by services that run: make a new one'
    '(update|delete from|truncate|insert into [^;]* select|copy|merge into) |rows are changed by the service, in small parts'
    '(lock|cluster|reindex|vacuum) |this keeps everybody from a table'
    'create (unique )?index concurrently if not exists |one that was interrupted is there, and invalid'
    'set (session )?lock_timeout|goldbook migrate sets it'
)

status=0
for file in "${files[@]}"; do
    within=(--assume-in-transaction)
    if [[ $(head -n 1 "$file") == '-- no-transaction' ]]; then within=(--no-assume-in-transaction); fi
    # Bounds of waiting are set by goldbook migrate. A statement may take long if it holds nothing that others want. A
    # migration runs once, so it need not run twice. How wide numbers and names are is for who designs a table.
    squawk "${within[@]}" --reporter gcc --pg-version 15 \
        --exclude require-lock-timeout,require-statement-timeout,prefer-robust-stmts,prefer-bigint-over-int \
        --exclude prefer-bigint-over-smallint,prefer-identity,prefer-text-field "$file" || status=1
    statements=$(sed 's/--.*//' "$file" | tr -s '[:space:]' ' ' | tr '[:upper:]' '[:lower:]')
    if [[ $statements == *' concurrently '* && ${within[0]} == --assume-in-transaction ]]; then
        echo "$file: CONCURRENTLY needs a file that begins with '-- no-transaction'" >&2
        status=1
    elif [[ $statements == *\;*[!\ ]* && ${within[0]} == --no-assume-in-transaction ]]; then
        echo "$file: Postgres makes one transaction of several statements, which this may not be" >&2
        status=1
    fi
    for rule in "${refused[@]}"; do
        if grep -qE "(^|;) ?${rule%|*}" <<<"$statements"; then
            echo "$file: ${rule##*|}" >&2
            status=1
        fi
    done
done
if [[ $status -ne 0 ]]; then
    echo 'see docs/upgrades.md' >&2
    exit 1
fi
echo 'migrations take no lock for long and leave the last release alone'
