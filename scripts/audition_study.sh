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
mkdir -p "$OUT"
trap 'echo "== stopped; nothing is lost: run the same command again to go on" >&2; exit 130' INT TERM
export OMP_NUM_THREADS=1 OUT

run() { # NAME TYPE CONFIG KEY VALUE...: one line of progress and a log
    local name=$1 type=$2 config=$3 log="$OUT/$1.$2.log"
    shift 3
    python main.py --run-type "$type" --exp-config "configs/audition/$config.yaml" --model-dir "$OUT/$name" \
        DATA.ROOT "$OUT/data" THREADS 1 "$@" >>"$log" 2>&1 ||
        { echo "== $name ($type) failed: $(tail -n 1 "$log")" >&2; return 1; }
    echo "== $name ($type) done"
}
export -f run
side_by_side() { tr '\n' '\0' | xargs -0 -P "${JOBS:-2}" -I{} bash -c '{}'; } # a command a line

python scripts/generate_homes.py --sounds-only --out "$OUT"
side_by_side <<'LINES'
run separator_mask train separator_mask
run separator_dprnn train separator_dprnn
LINES

FROZEN="AUDITION.SEPARATOR.FROZEN True" FROM=AUDITION.SEPARATOR.CHECKPOINT
for seed in $SEEDS; do
    keys="SEED $seed TRAIN.PRECISION $PRECISION"
    echo "run otoworld_reward_$seed train otoworld $keys"
    echo "run otoworld_frozen_$seed train otoworld $keys $FROZEN"
    echo "run otoworld_pretrained_$seed train otoworld $keys $FROZEN $FROM $OUT/separator_mask"
    echo "run auralnav_$seed train auralnav $keys $FROM $OUT/separator_dprnn"
done | side_by_side
for seed in $SEEDS; do # rooms and sounds of the test are drawn anew for each seed
    for arm in otoworld_reward otoworld_frozen otoworld_pretrained; do
        echo "run ${arm}_$seed eval otoworld_test SEED $seed"
    done
    echo "run auralnav_$seed eval auralnav_test SEED $seed"
    for agent in random oracle; do
        echo "run ${agent}_$seed eval otoworld_test SEED $seed EVAL.AGENT $agent"
    done
done | side_by_side

of_seeds() { for seed in $SEEDS; do printf '%s,' "$OUT/$1_$seed"; done | sed 's/,$//'; }
python scripts/results_table.py "$ROWS" --task auralnav --collect "random=$(of_seeds random)" \
    "TasNet, supervised=$(of_seeds auralnav)" "oracle=$(of_seeds oracle)" >/dev/null
python scripts/results_table.py "$ROWS" --task otoworld --figure "$OUT/curves.png" --collect \
    "random=$(of_seeds random)" "separator at random=$(of_seeds otoworld_frozen)" \
    "separator by the reward=$(of_seeds otoworld_reward)" "separator, supervised=$(of_seeds otoworld_pretrained)" \
    "oracle=$(of_seeds oracle)"
echo "== all done; rows: $ROWS, curves: $OUT/curves.png, reports: $OUT/*/eval/*/*/report"
