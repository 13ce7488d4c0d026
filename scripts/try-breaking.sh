#!/usr/bin/env bash
# Tries scripts/check-breaking.sh in a throw-away repository that has a release of today's protos. The check has to pass
# changes that break no client, and to fail on changes that break one.
set -euo pipefail

cd "$(dirname "$0")/.."
# shellcheck disable=SC2046 # the names are split into words on purpose
unset $(git rev-parse --local-env-vars) # a hook's variables name this repository

repository=$(mktemp -d)
trap 'rm -rf "$repository"' EXIT
# Copies files as they are now, committed or not. A file that was removed is still listed, and is left out.
git ls-files --cached --others --exclude-standard -- buf.yaml scripts/check-breaking.sh '*.proto' |
    while IFS= read -r file; do
        if [[ -e $file ]]; then printf '%s\n' "$file"; fi
    done | sort -u | tar -c -f - -T - | tar -x -C "$repository"
cd "$repository"

# Runs git whatever the user's own settings are.
quietly() {
    git -c user.name=trial -c user.email=trial@localhost -c init.defaultBranch=main -c core.hooksPath=/dev/null \
        -c commit.gpgsign=false -c tag.gpgsign=false "$@" >/dev/null
}
give_up() {
    printf 'scripts/check-breaking.sh: %s\n' "$*" >&2
    exit 1
}

# The check has to succeed and to print these words.
demand_pass() {
    local name=$1 words=$2 output
    output=$(scripts/check-breaking.sh 2>&1) || give_up "$name: is refused: $output"
    [[ $output == *"$words"* ]] || give_up "$name: does not say '$words': $output"
    printf 'passes: %s\n' "$name"
}
# The check has to print these words and to fail. Status 100 is how buf ends when it found something. It ends so, too,
# with protos that it cannot read, so these are built before.
demand_failure() {
    local name=$1 words=$2 output status=0
    ! git diff --quiet || give_up "$name: the trial itself changes nothing"
    buf build || give_up "$name: the trial makes protos that do not build"
    output=$(scripts/check-breaking.sh 2>&1) || status=$?
    [[ $status -eq 100 ]] || give_up "$name: ends with status $status instead of 100: $output"
    [[ $output == *"$words"* ]] || give_up "$name: does not say '$words': $output"
    printf 'fails: %s\n' "$name"
    quietly checkout -- .
}
# Changes the one file of this name with a script for sed.
change() {
    local file
    file=$(git ls-files "*/goldbook/v1/$1")
    sed "$2" "$file" >changed
    mv changed "$file"
}

quietly init
quietly add .
quietly commit --message 'a release'
demand_pass 'a commit before the first release' 'protos are not compared'

quietly tag v0.1.0
demand_pass 'protos as they were released' 'break no client of v0.1.0'

change tiers.proto 's/^message GetCustomerTierRequest {$/&\n  \/\/ New.\n  string new_field = 1000;/'
! git diff --quiet || give_up 'the trial itself adds nothing'
demand_pass 'a field that is new' 'break no client of v0.1.0'
quietly checkout -- .

in_request='/^message GetCustomerTierRequest {$/,/^}$/'
change tiers.proto "$in_request s/ customer_id = [0-9]*/ customer_id = 1000/"
demand_failure 'a field with another number' 'Previously present field'

change tiers.proto "$in_request s/ customer_id = / member_id = /"
demand_failure 'a field with another name' 'customer_id'

change tiers.proto "$in_request { / customer_id = /d; }"
demand_failure 'a field that is gone' 'Previously present field'

change tiers.proto '/^  rpc GetCustomerTier(/d'
demand_failure 'a method that is gone' 'GetCustomerTier'
