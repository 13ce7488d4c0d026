#!/usr/bin/env bash
# Makes an image that stands in for the builder of the Dockerfile where no registry of images can be reached: the same
# release of Debian with the same packages, from Debian's own, and the Rust toolchain of this machine. As root, by buildah:
#   scripts/make-stand-in-builder.sh NAME FOLDER
# FOLDER keeps Debian's part, so that the next time is quick. The options of buildah come from BUILDAH_OPTIONS.
set -euo pipefail

cd "$(dirname "$0")/.."
name=$1
folder=$2
read -ra options <<<"${BUILDAH_OPTIONS:-}"

compiler=$(rustc --print sysroot)
wanted=$(sed -n 's/^ARG BUILDER_IMAGE=.*rust:\(.*\)-slim-\([a-z]*\)$/\1 \2/p' Dockerfile)
read -r version release <<<"$wanted"
if [[ -z $release ]]; then
    echo 'the Dockerfile names no builder rust:VERSION-slim-RELEASE' >&2
    exit 1
fi
have=$(rustc --version | cut -d' ' -f2)
if [[ $have != "$version" ]]; then
    # The program is built all the same: what is tried here is the image.
    echo "the Dockerfile has Rust $version, and Rust $have of this machine stands in for it" >&2
fi

debian=$folder/$release.tar
if [[ ! -s $debian ]]; then
    mkdir -p "$folder"
    # What the slim image has: the smallest Debian, and these. Handbooks and translations are left out there, too.
    if ! mmdebstrap --mode=root --format=tar --variant=minbase --include=ca-certificates,gcc,libc6-dev \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$release" "$debian.part" &>"$folder/mmdebstrap.log"; then
        cat "$folder/mmdebstrap.log" >&2
        exit 1
    fi
    mv "$debian.part" "$debian"
fi

container=$(buildah "${options[@]}" from scratch)
trap 'buildah "${options[@]}" rm "$container" >/dev/null' EXIT
root=$(buildah "${options[@]}" mount "$container")
tar -x -C "$root" -f "$debian"
# Documentation and the standard libraries of other targets are not needed to build.
host=$(rustc --version --verbose | sed -n 's/^host: //p')
mkdir -p "$root/usr/local/rustup/lib/rustlib" "$root/usr/local/rustup/bin" "$root/usr/local/cargo"
cp -a "$compiler"/lib/*.so* "$root/usr/local/rustup/lib/"
cp -a "$compiler/lib/rustlib/$host" "$root/usr/local/rustup/lib/rustlib/"
cp -a "$compiler/bin/cargo" "$compiler/bin/rustc" "$root/usr/local/rustup/bin/"
# How this machine reaches the crates: whom it trusts, and what Cargo is told.
cp "${CARGO_HTTP_CAINFO:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}" "$root/usr/local/cargo/ca.crt"
configuration=${CARGO_HOME:-$HOME/.cargo}/config.toml
if [[ -f $configuration ]]; then cp "$configuration" "$root/usr/local/cargo/"; fi
# What is tried is the image and not the compiler's optimization, which would take as long as all other checks of it together.
buildah "${options[@]}" config \
    --env CARGO_PROFILE_RELEASE_LTO=off \
    --env CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    --env CARGO_HTTP_CAINFO=/usr/local/cargo/ca.crt \
    --env CARGO_HOME=/usr/local/cargo \
    --env PATH=/usr/local/rustup/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
buildah "${options[@]}" commit --quiet "$container" "$name" >/dev/null
