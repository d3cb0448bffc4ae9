#!/usr/bin/env bash
# Sets up as quickstart.sh does, then formatting, lint, types and tests. No GPU, no download but packages.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
install_requirements requirements-test.txt
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
