#!/bin/sh
# Make or refresh the virtualenv: exactly the versions of requirements/lock.txt, and this project itself, editable.
#
# usage: resources/host/virtualenv.sh FOLDER, from the project's root. PYTHON chooses the interpreter.
set -eu

venv=${1:?usage: virtualenv.sh FOLDER}
python=${PYTHON:-python3}

if ! command -v "$python" >/dev/null; then
    echo "missing: $python, Python 3.11 or newer (as root: apt-get install python3)" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is $("$python" -V); Python 3.11 or newer is needed: name one with PYTHON=" >&2
    exit 1
fi
resources/host/packages.sh venv

# A virtualenv that was moved or half made, or whose interpreter is gone, cannot be repaired.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
wanted_uv=$(grep '^uv==' requirements/lock.txt)
if [ "uv==$("$venv/bin/uv" --version 2>/dev/null | cut -d' ' -f2)" != "$wanted_uv" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wanted_uv" </dev/null
fi

# Trust the system's authorities: uv's own list lacks the authority of a network that intercepts TLS.
export UV_SYSTEM_CERTS=1 VIRTUAL_ENV="$PWD/$venv"
# pip stays, because users expect it in a virtualenv.
grep -v '^ *#' requirements/lock.txt >"$venv/lock.txt"
"$venv/bin/python" -m pip list --format=freeze 2>/dev/null | grep '^pip==' >>"$venv/lock.txt"
"$venv/bin/uv" pip sync --quiet "$venv/lock.txt"
"$venv/bin/uv" pip install --quiet --no-deps --no-build-isolation --editable .
