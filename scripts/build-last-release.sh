#!/usr/bin/env bash
# Builds the last release, the nearest tag v* that this commit descends from, and prints the path of its program. Where
# there is no release yet, it builds nothing and prints nothing.
#   scripts/build-last-release.sh             a debug build
#   scripts/build-last-release.sh release     a release build
set -euo pipefail

cd "$(dirname "$0")/.."
profile=${1:-dev}
if [[ -z $(git tag --merged HEAD --list 'v[0-9]*') ]]; then
    echo 'no release v* is among the ancestors of this commit' >&2
    exit 0
fi
release=$(git describe --tags --abbrev=0 --match 'v[0-9]*')
echo "the last release is $release" >&2

target=$PWD/target/last-release
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
git archive "$release" | tar -x -C "$source"
cd "$source"
CARGO_TARGET_DIR=$target cargo build --locked --bin goldbook --profile "$profile" >&2
printf '%s/%s/goldbook\n' "$target" "${profile/#dev/debug}"
