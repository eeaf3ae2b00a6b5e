#!/usr/bin/env bash
# Make a virtual environment that holds exactly requirements.lock, and this project, editable.
# Usage: [PYTHON=python3.12] scripts/setup.sh .venv
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "setup: Python 3.11 or newer is needed, $python is $("$python" -V 2>&1). Try: make setup PYTHON=python3.12" >&2
    exit 3
fi

rm -f "$venv"/.setup-*
"$python" -m venv "$venv"

# uv installs in seconds what takes pip a minute. It comes from the lock too, by version and hash.
bootstrap=$(mktemp)
trap 'rm -f "$bootstrap"' EXIT
awk '/^[^ #]/ { wanted = /^uv==/ } wanted' requirements.lock >"$bootstrap"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$bootstrap"

"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes requirements.lock
# The build backend is in the lock, so nothing is fetched here.
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
