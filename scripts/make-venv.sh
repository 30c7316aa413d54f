#!/usr/bin/env bash
# Makes a virtual environment from a lock file: scripts/make-venv.sh FOLDER LOCK
#
# Takes $PYTHON, or else the first Python 3.11 or newer on the path. Where the machine has none,
# or has Debian's python3 without its pip, the missing piece comes from Debian: installed when
# root, unpacked below .cache when not.
set -euo pipefail

folder=$1
lock=$2

fail() { printf 'make-venv: %s\n' "$*" >&2; exit 1; }

good() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if command -v "$name" >/dev/null && good "$name"; then command -v "$name"; return; fi
  done
  return 1
}

install_debian() {
  command -v apt-get >/dev/null || fail "$1 is missing and there is no apt-get to install it with"
  printf 'make-venv: installing %s\n' "$*" >&2
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >&2
}

# pip's own wheel, unpacked from Debian's package: nothing is installed, no right is needed.
unpack_pip() {
  local cache=$PWD/.cache/pip-wheel
  command -v apt-get >/dev/null || fail "$python has no ensurepip; install python3-venv"
  mkdir -p "$cache"/lists/partial "$cache"/archives/partial
  local options=(-o "Dir::State::lists=$cache/lists" -o "Dir::Cache=$cache"
    -o APT::Sandbox::User= -o Debug::NoLocking=1 -qq)
  (cd "$cache" && apt-get "${options[@]}" update && apt-get "${options[@]}" download python3-pip-whl \
    && dpkg-deb -x python3-pip-whl_*.deb .) >&2 \
    || fail "could not get python3-pip-whl; as root: apt-get install python3-venv"
  printf '%s\n' "$cache"/usr/share/python-wheels/pip-*.whl
}

if ! python=$(find_python); then
  found=$(command -v "${PYTHON:-python3}" >/dev/null && "${PYTHON:-python3}" --version || echo none)
  [ -z "${PYTHON:-}" ] && [ "$(id -u)" = 0 ] && install_debian python3 python3-venv
  python=$(find_python) || fail "needs Python 3.11 or newer, found: $found;" \
    "install one, or name it: make venv PYTHON=/path/to/python3"
fi

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1 || ! good "$folder/bin/python"; then
  rm -rf "$folder"
  if ! "$python" -c 'import ensurepip' 2>/dev/null && [ "$(id -u)" = 0 ]; then
    install_debian python3-venv
  fi
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$folder"
  else
    wheel=$(unpack_pip)
    "$python" -m venv --without-pip "$folder"
    PYTHONPATH=$wheel "$folder/bin/python" -m pip install -q --no-index --no-deps "$wheel"
  fi
fi

printf 'make-venv: %s, packages of %s\n' "$("$folder/bin/python" --version)" "$lock"
"$folder/bin/python" -m pip install -q --require-hashes -r "$lock"
"$folder/bin/python" -m pip install -q --no-deps --no-build-isolation --no-index -e .
