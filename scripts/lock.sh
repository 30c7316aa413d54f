#!/usr/bin/env bash
# Makes requirements.lock (what runs) and requirements-dev.lock (all of it) from pyproject.toml:
# scripts/lock.sh UV [--upgrade]
#
# Names, versions and hashes only, the same wherever they are made: no index and no folder of wheels
# of the machine that made them.
set -euo pipefail

uv=$1
shift
unset UV_FIND_LINKS

compile() {
  "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes \
    --no-annotate --no-header --no-emit-index-url --no-emit-find-links --no-strip-extras "$@"
}

compile "$@" pyproject.toml --output-file requirements.lock
compile "$@" --extra local --extra dev --constraints requirements.lock \
  pyproject.toml --output-file requirements-dev.lock
