#!/usr/bin/env bash
# Make a virtual environment that holds exactly requirements.lock, and this project, editable.
# Usage: [PYTHON=python3.12] scripts/setup.sh .venv
# An environment that is there keeps its interpreter; `make distclean` makes room for another.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
python=${PYTHON:-python3}
# As pip does, trust what this machine trusts; uv would bring a list of its own.
export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}

if [[ ! -x $venv/bin/pip ]]; then
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "setup: Python 3.11 or newer is needed, $python is $("$python" -V 2>&1). Try: make setup PYTHON=python3.12" >&2
        exit 3
    fi
    "$python" -m venv --clear "$venv"
fi
rm -f "$venv"/.setup-*

# uv installs in 6 s what takes pip 24 s. It comes from the lock too, by version and hash.
bootstrap=$(mktemp)
trap 'rm -f "$bootstrap"' EXIT
awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock >"$bootstrap"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" --require-hashes --requirement "$bootstrap"

# Compiled now: where PYTHONDONTWRITEBYTECODE is set, every start of a process would compile all of its modules again.
if ! "$venv/bin/uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes requirements.lock; then
    echo "setup: uv could not install the lock; trying pip, which may be configured for a mirror that uv does not know" >&2
    "${pip[@]}" --require-hashes --requirement requirements.lock
fi
# The build backend is in the lock, so nothing is fetched here.
"${pip[@]}" --no-deps --no-build-isolation --editable .
"$venv/bin/python" -m compileall -q eldermesh eldermesh_cli services shared
