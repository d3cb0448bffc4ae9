# Sourced by quickstart.sh and test.sh: makes .venv (or uses VENV=DIR), installs what changed, activates it.
# shellcheck shell=bash
VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}

install_requirements() { # FILE...: install each once, and again when it has changed
    local file stamp
    for file in "$@"; do
        stamp="$VENV/.installed-$file"
        if ! cmp -s "$file" "$stamp"; then
            echo "== installing $file"
            python -m pip install --quiet --disable-pip-version-check -r "$file" || return 1
            cp "$file" "$stamp"
        fi
    done
}

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    echo "error: $PYTHON is not Python 3.9 or newer; set PYTHON=/path/to/python3" >&2
    exit 2
fi
if [ ! -f "$VENV/bin/activate" ]; then
    echo "== making the virtual environment $VENV"
    "$PYTHON" -m venv "$VENV" || { echo "error: cannot make $VENV; on Debian: apt install python3-venv" >&2; exit 2; }
fi
# shellcheck disable=SC1091
source "$VENV/bin/activate"
install_requirements requirements.txt || { echo "error: pip could not install requirements.txt" >&2; exit 2; }
if ! install_requirements requirements-rlr.txt 2>"$VENV/rlr.log"; then
    echo "note: rlr-audio-propagation did not build (is g++ there? log: $VENV/rlr.log);" \
        "homes will be made with pyroomacoustics instead"
fi
