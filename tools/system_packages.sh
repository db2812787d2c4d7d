#!/usr/bin/env bash
# The programs that Python packages do not bring: tools/system_packages.sh COMMAND...
# Installs the Debian package of each named command that is missing; elsewhere it only says what to install.
set -euo pipefail

package_of() {
    case $1 in
        bwrap) echo bubblewrap ;;
        node) echo nodejs ;;
        *) echo "$1" ;;
    esac
}

missing=()
for command in "$@"; do
    command -v "$command" >/dev/null || missing+=("$(package_of "$command")")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
if ! command -v apt-get >/dev/null || ! command -v "${as_root[0]:-apt-get}" >/dev/null; then
    echo "system packages: please install ${missing[*]} with this system's package manager." >&2
    exit 1
fi
echo "system packages: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
