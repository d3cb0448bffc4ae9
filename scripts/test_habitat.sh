#!/usr/bin/env bash
# Runs tests/habitat_adapter in a virtual environment of their own (.venv-habitat, or HABITAT_VENV=DIR), as habitat-lab pins
# numpy 1.26.4. Arguments go to pytest. In an environment that has habitat-sim (environment.yml), run
# `python -m pytest tests/habitat_adapter` instead: then the tests marked `habitat` run too.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${HABITAT_VENV:-.venv-habitat}
PYTHON=${PYTHON:-python3}
PIP=("$VENV/bin/python" -m pip --disable-pip-version-check --quiet)

skip() {
    echo "skipped: tests/habitat_adapter were not run: $1"
    exit 0
}

if ! "$PYTHON" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))'; then
    skip "habitat-lab is for Python 3.9 to 3.11, $PYTHON is $("$PYTHON" -V 2>&1); set PYTHON=/path/to/one"
fi
if [ ! -x "$VENV/bin/python" ]; then
    echo "== making the virtual environment $VENV"
    "$PYTHON" -m venv "$VENV" || { echo "error: cannot make $VENV; on Debian: apt install python3-venv" >&2; exit 2; }
fi
# all in one call, so that pip resolves them beside habitat-lab's numpy
wanted=$(cat requirements.txt requirements-habitat.txt; grep '^pytest[<>=]' requirements-test.txt)
if [ "$wanted" != "$(cat "$VENV/.installed" 2>/dev/null)" ]; then
    echo "== installing requirements.txt and requirements-habitat.txt in $VENV"
    if ! "${PIP[@]}" install --no-compile -r /dev/stdin <<<"$wanted"; then
        # no network is no fault of this repository; a set of requirements that does not install is
        probe=$(mktemp -d)
        "${PIP[@]}" download --retries 0 --no-deps --dest "$probe" -r requirements-habitat.txt 2>/dev/null && reached=1
        rm -rf "$probe"
        [ -n "${reached:-}" ] || skip "pip cannot reach a package index to install habitat-lab from (see above)"
        echo "error: pip could not install requirements.txt and requirements-habitat.txt together" >&2
        exit 2
    fi
    "${PIP[@]}" install --no-compile -r requirements-rlr.txt 2>/dev/null ||
        echo "note: rlr-audio-propagation did not build (is g++ there?): the tests of live rendering will be skipped"
    echo "$wanted" >"$VENV/.installed"
fi
export OMP_NUM_THREADS=1
exec "$VENV/bin/python" -m pytest tests/habitat_adapter "$@"
