#!/usr/bin/env bash
# Sets up as quickstart.sh does, then formatting, lint, types and tests. No GPU, no download but packages. Where Pure Data
# is missing and this is root on Debian or Ubuntu, it is installed; else the tests that need it say that they skip.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
install_requirements requirements-test.txt
if ! command -v "${PD:-pd}" >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing puredata-core"
    { apt-get install -y puredata-core || { apt-get update && apt-get install -y puredata-core; }; } >"$VENV/pd.log" 2>&1 ||
        echo "note: puredata-core could not be installed (log: $VENV/pd.log); the tests that need it will be skipped"
fi
export OMP_NUM_THREADS=1

echo "== ruff"
ruff format --check .
ruff check .
echo "== mypy"
mypy
echo "== pytest"
python -m pytest -n "${WORKERS:-2}" --dist loadscope "$@"
if [ $# -eq 0 ]; then
    echo "== pytest tests/habitat_adapter, with habitat-lab"
    scripts/test_habitat.sh
fi
