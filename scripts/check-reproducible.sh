#!/usr/bin/env bash
# Builds the last commit twice as it is released, in folders of different names, with crates that were fetched twice, and
# compares the bytes. It takes as long as two release builds.
set -euo pipefail

cd "$(dirname "$0")/.."
GOLDBOOK_COMMIT=$(git rev-parse HEAD)
export GOLDBOOK_COMMIT

directory=$(mktemp -d "${TMPDIR:-/tmp}/goldbook-reproducible.XXXXXX")
trap 'rm -rf "$directory"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

sums=()
for place in one another/longer; do
    sources=$directory/$place/sources
    mkdir -p "$sources"
    git archive HEAD | tar -x -C "$sources"
    printf '==> building in %s\n' "$sources"
    CARGO_HOME=$directory/$place/cargo CARGO_TARGET_DIR=$directory/$place/built "$sources/scripts/build-release.sh" --quiet
    program=$directory/$place/goldbook
    mv "$directory/$place/built/release/goldbook" "$program"
    rm -rf "$directory/$place/built" "$directory/$place/cargo"
    sum=$(sha256sum <"$program")
    sums+=("${sum%% *}")
    printf '%s\n' "${sums[-1]}"
    # GOLDBOOK_REPRODUCIBLE_KEEP names a folder for the two programs, to look at what differs.
    if [[ -n ${GOLDBOOK_REPRODUCIBLE_KEEP:-} ]]; then
        mkdir -p "$GOLDBOOK_REPRODUCIBLE_KEEP"
        cp "$program" "$GOLDBOOK_REPRODUCIBLE_KEEP/goldbook-${#sums[@]}"
    fi
done

if [[ ${sums[0]} != "${sums[1]}" ]]; then
    echo 'the two builds differ' >&2
    exit 1
fi
echo 'both builds are the same, byte for byte'
