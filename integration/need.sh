#!/usr/bin/env bash
# need.sh COMMAND=PACKAGE… installs the Debian packages whose commands are missing: what setup scripts are made of.
# It does nothing, and asks for no rights, where all commands are there. The list of packages is fetched once.
set -eu
PATH=$PATH:/usr/sbin:/sbin
missing=()
for pair in "$@"; do
	command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "installing ${missing[*]}"
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
export DEBIAN_FRONTEND=noninteractive
install() { "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"; }
if ! install >/dev/null 2>&1; then
	"${as_root[@]}" apt-get update -qq
	install
fi
