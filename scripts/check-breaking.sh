#!/usr/bin/env bash
# Compares the protos with those of the last release, and fails where a client of that release would break. The last
# release is the nearest tag v* that this commit descends from. Where there is none, the script says so and succeeds.
set -euo pipefail

cd "$(dirname "$0")/.."

releases=$(git tag --merged HEAD --list 'v[0-9]*')
if [[ -z $releases ]]; then
    echo 'protos are not compared: no release v* is among the ancestors of this commit'
    if [[ $(git rev-parse --is-shallow-repository) == true ]]; then
        echo 'this clone is shallow, so a release may be hidden: git fetch --unshallow --tags' >&2
    fi
    exit 0
fi

release=$(git describe --tags --abbrev=0 --match 'v[0-9]*')
released=$(mktemp -d)
trap 'rm -rf "$released"' EXIT
# buf.yaml of that release says where its protos were, so they may have moved since.
git archive "$release" | tar -x -C "$released"
buf breaking --against "$released"
echo "protos break no client of $release"
