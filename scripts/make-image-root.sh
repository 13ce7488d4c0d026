#!/usr/bin/env bash
# Puts into a folder all that the container image holds: the program, the libraries that it is linked to, the certificates
# that it trusts, and what Debian says about these packages, by which scanners know them. The Dockerfile runs it.
#   scripts/make-image-root.sh PROGRAM VERSION FOLDER
set -euo pipefail

program=$1
version=$2
root=$3

told=$("$program" --version)
if [[ $told != "goldbook $version" ]]; then
    echo "the program says that it is $told, and the image would be labelled $version" >&2
    exit 1
fi

install -D -m 0755 "$program" "$root/usr/bin/goldbook"
install -D -m 0644 "$(dirname "$0")/../LICENSE" "$root/usr/share/doc/goldbook/LICENSE"

# The loader looks for the libraries where the builder has them.
packages=(ca-certificates)
while IFS= read -r library; do
    install -D -m 0755 "$library" "$root$library"
    # Debian's database has a library by the one path or the other, where /lib is a link to /usr/lib.
    owner=$(dpkg-query --search "$library" 2>/dev/null || dpkg-query --search "$(realpath "$library")")
    packages+=("${owner%%:*}")
done < <(ldd "$program" | grep -o '/[^ ]*')
install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"

while IFS= read -r package; do
    mkdir -p "$root/var/lib/dpkg/status.d"
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    install -D -m 0644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
done < <(printf '%s\n' "${packages[@]}" | sort -u)
install -D -m 0644 /etc/os-release "$root/etc/os-release"

printf 'root:x:0:0:root:/:/nonexistent\ngoldbook:x:65532:65532:goldbook:/home/goldbook:/nonexistent\n' >"$root/etc/passwd"
printf 'root:x:0:\ngoldbook:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
install -d -o 65532 -g 65532 -m 0700 "$root/home/goldbook"
install -d -m 1777 "$root/tmp"
