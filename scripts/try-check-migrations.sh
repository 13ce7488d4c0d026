#!/usr/bin/env bash
# Tries scripts/check-migrations.sh in a throw-away repository: it has to pass migrations that an older version can live
# with, and to fail on each that it cannot, or that takes a lock for long. Those in scripts/migration-samples are run on a
# large database by scripts/try-migrations.sh, too.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck disable=SC2046 # the names are split into words on purpose
unset $(git rev-parse --local-env-vars) # a hook's variables name this repository

samples=$PWD/scripts/migration-samples
repository=$(mktemp -d)
trap 'rm -rf "$repository"' EXIT
cp -r --parents migrations scripts/check-migrations.sh "$repository"
cd "$repository"

# Runs git whatever the user's own settings are.
quietly() {
    git -c user.name=trial -c user.email=trial@localhost -c init.defaultBranch=main -c core.hooksPath=/dev/null \
        -c commit.gpgsign=false -c tag.gpgsign=false "$@" >/dev/null
}
give_up() {
    printf 'scripts/check-migrations.sh: %s\n' "$*" >&2
    exit 1
}

new=migrations/9999_new.sql

# The check has to pass a migration, and to print these words.
demand_pass() {
    local words=$1 sql=$2 output
    printf '%s\n' "$sql" >"$new"
    output=$(scripts/check-migrations.sh 2>&1) || give_up "refuses '$sql': $output"
    [[ $output == *"$words"* ]] || give_up "does not say '$words' of '$sql': $output"
    printf 'passes: %s\n' "${sql//$'\n'/ }"
}
# The check has to refuse a migration, and to print these words.
demand_failure() {
    local words=$1 sql=$2 output status=0
    printf '%s\n' "$sql" >"$new"
    output=$(scripts/check-migrations.sh 2>&1) || status=$?
    [[ $status -eq 1 ]] || give_up "ends with status $status instead of 1 on '$sql': $output"
    [[ $output == *"$words"* ]] || give_up "does not say '$words' of '$sql': $output"
    printf 'fails: %s\n' "${sql//$'\n'/ }"
}

quietly init
quietly add .
quietly commit --message 'a release'
demand_pass 'migrations are not checked' 'DROP TABLE accounts;'
rm "$new"

quietly tag v0.1.0
[[ $(scripts/check-migrations.sh) == *'no migration since v0.1.0'* ]] || give_up 'finds a migration where there is none'
printf -- '-- changed\n' >>migrations/0001_accounts.sql
! scripts/check-migrations.sh 2>/dev/null || give_up 'passes a released migration that was changed'
quietly checkout -- migrations

for sample in "$samples"/permitted/*.sql; do
    demand_pass 'take no lock for long' "$(<"$sample")"
done
for sample in "$samples"/refused/*.sql; do
    demand_failure "$(sed -n '1s/^-- refused: //p' "$sample")" "$(<"$sample")"
done
demand_failure adding-required-field 'ALTER TABLE accounts ADD COLUMN level text NOT NULL;'
demand_failure changing-column-type 'ALTER TABLE accounts ALTER COLUMN head TYPE numeric;'
demand_failure adding-not-nullable-field 'ALTER TABLE accounts ALTER COLUMN next_due_at SET NOT NULL;'
demand_failure renaming-column 'ALTER TABLE accounts RENAME COLUMN head TO entries;'
demand_failure ban-drop-constraint 'ALTER TABLE accounts DROP CONSTRAINT accounts_kind_known;'
demand_failure renaming-table 'ALTER TABLE accounts RENAME TO heads;'
demand_failure ban-drop-column 'ALTER TABLE accounts DROP COLUMN erased_at;'
demand_failure ban-drop-table 'DROP TABLE standing_marks;'
demand_failure ban-drop-type 'DROP TYPE sent_account;'
demand_failure require-concurrent-index-deletion 'DROP INDEX accounts_due;'
demand_failure 'which this may not be' '-- no-transaction
CREATE INDEX CONCURRENTLY accounts_by_program ON accounts (program_id); SELECT 1;'
demand_failure "begins with '-- no-transaction'" \
    'CREATE INDEX CONCURRENTLY accounts_by_program ON accounts (program_id);'
demand_failure constraint-missing-not-valid "ALTER TABLE accounts ADD CONSTRAINT named CHECK (program_id <> '');"
demand_failure disallowed-unique-constraint 'ALTER TABLE accounts ADD CONSTRAINT once UNIQUE (program_id);'
demand_failure 'rows are sent as this type' 'ALTER TYPE sent_account ADD ATTRIBUTE household_id uuid;'
demand_failure 'in small parts' "UPDATE accounts SET kind = 'customer';"
demand_failure 'in small parts' 'SELECT 1; delete from stuck_dues;'
demand_failure 'in small parts' 'INSERT INTO balances SELECT * FROM balances;'
demand_failure 'goldbook migrate sets it' "SET lock_timeout = '1h';"
demand_failure 'and invalid' '-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS accounts_by_program ON accounts (program_id);'
