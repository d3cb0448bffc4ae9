#!/usr/bin/env bash
# The study of docs/audition.md: ./scripts/audition_study.sh [OUT]
# sounds -> separators by supervision -> DQN agents, three seeds of each kind -> test beside random and oracle -> tables.
# Run again to go on after an interruption; what is finished is skipped.
#   JOBS=N      runs at a time, a core each (default 2)
#   SEEDS="0 1 2"
#   PRECISION=bf16   trains 1.5 times as fast where the processor multiplies bfloat16 (default fp32)
#   ROWS=FILE   where the rows go (default OUT/audition.json; those of docs/audition.md lie in results/audition.json)
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
OUT=${1:-runs/audition}
SEEDS=${SEEDS:-0 1 2}
ROWS=${ROWS:-$OUT/audition.json}
PRECISION=${PRECISION:-fp32}
source scripts/setup.sh
source scripts/study.sh

python scripts/generate_homes.py --sounds-only --out "$OUT"
side_by_side <<'LINES'
run audition/separator_mask separator_mask train
run audition/separator_dprnn separator_dprnn train
LINES

FROZEN="AUDITION.SEPARATOR.FROZEN True" FROM=AUDITION.SEPARATOR.CHECKPOINT
for seed in $SEEDS; do
    keys="SEED $seed TRAIN.PRECISION $PRECISION"
    echo "run audition/otoworld otoworld_reward_$seed train $keys"
    echo "run audition/otoworld otoworld_frozen_$seed train $keys $FROZEN"
    echo "run audition/otoworld otoworld_pretrained_$seed train $keys $FROZEN $FROM $OUT/separator_mask"
    echo "run audition/auralnav auralnav_$seed train $keys $FROM $OUT/separator_dprnn"
done | side_by_side
for seed in $SEEDS; do # rooms and sounds of the test are drawn anew for each seed
    for arm in otoworld_reward otoworld_frozen otoworld_pretrained; do
        echo "run audition/otoworld_test ${arm}_$seed eval SEED $seed"
    done
    echo "run audition/auralnav_test auralnav_$seed eval SEED $seed"
    for agent in random oracle; do
        echo "run audition/otoworld_test ${agent}_$seed eval SEED $seed EVAL.AGENT $agent"
    done
done | side_by_side

python scripts/results_table.py "$ROWS" --task auralnav --collect "random=$(of_seeds random)" \
    "TasNet, supervised=$(of_seeds auralnav)" "oracle=$(of_seeds oracle)" >/dev/null
python scripts/results_table.py "$ROWS" --task otoworld --figure "$OUT/curves.png" --collect \
    "random=$(of_seeds random)" "separator at random=$(of_seeds otoworld_frozen)" \
    "separator by the reward=$(of_seeds otoworld_reward)" "separator, supervised=$(of_seeds otoworld_pretrained)" \
    "oracle=$(of_seeds oracle)"
echo "== all done; rows: $ROWS, curves: $OUT/curves.png, reports: $OUT/*/eval/*/*/report"
