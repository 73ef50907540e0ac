#!/usr/bin/env bash
# Installs the clients that are no Go module: kcat, Java and Maven from Debian, and those of Python and Node.js, at the
# versions pinned in programs/, into the user's cache. It does nothing when all of that is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kbroker-clients

"$here/../need.sh" kcat=kcat javac=default-jdk-headless mvn=maven python3=python3 node=nodejs npm=npm
# Debian has what venv needs in a package without a command of its own.
python3 -c 'import ensurepip, venv' 2>/dev/null || "$here/../need.sh" no-such-command=python3-venv

# fresh DIRECTORY FILE… is true if the directory was made from the files as they are now.
fresh() { [ -f "$1/.made-from" ] && [ "$(cat "$1/.made-from")" = "$(cat "${@:2}" | sha256sum)" ]; }
# made DIRECTORY FILE… makes it so.
made() { cat "${@:2}" | sha256sum > "$1/.made-from"; }

venv=$cache/venv
if ! fresh "$venv" "$here/programs/python/requirements.txt"; then
	echo "installing the Python clients"
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install -q --disable-pip-version-check --no-deps -r "$here/programs/python/requirements.txt"
	made "$venv" "$here/programs/python/requirements.txt"
fi

node=$cache/node
if ! fresh "$node" "$here"/programs/node/package*.json; then
	echo "installing the Node.js clients"
	rm -rf "$node"
	mkdir -p "$node"
	cp "$here"/programs/node/package*.json "$node"
	(cd "$node" && npm ci --silent --no-audit --no-fund)
	made "$node" "$here"/programs/node/package*.json
fi
