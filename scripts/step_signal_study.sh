#!/usr/bin/env bash
# The study of docs/step_signal.md: ./scripts/step_signal_study.sh [OUT]
# DDPG, TD3 and SAC with and without hindsight, DDPG also with the sparse reward -> test beside scripted agents.
# Run again to go on after an interruption; what is finished is skipped.
#   JOBS=N      runs at a time, a core each (default 2)
#   SEEDS="0 1 2"   AGENTS="ddpg ddpg_her ..." (default: all below)
#   ROWS=FILE   where the rows go (default OUT/step_signal.json; those of the docs lie in results/step_signal.json)
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
OUT=${1:-runs/step_signal}
SEEDS=${SEEDS:-0 1 2}
AGENTS=${AGENTS:-ddpg ddpg_her td3 td3_her sac sac_her ddpg_sparse ddpg_sparse_her}
ROWS=${ROWS:-$OUT/step_signal.json}
source scripts/setup.sh
source scripts/study.sh

for agent in $AGENTS; do
    for seed in $SEEDS; do
        echo "run step_signal/$agent ${agent}_$seed train SEED $seed"
    done
done | side_by_side
# an agent that has learnt nothing: trained for one step, before its first update
for seed in $SEEDS; do
    echo "run step_signal/ddpg untrained_$seed train SEED $seed SB3.NUM_STEPS 1 SB3.EVAL_EPISODES 1"
done | side_by_side
for seed in $SEEDS; do # episodes of the test are drawn anew for each seed
    for agent in $AGENTS untrained; do
        echo "run step_signal/test ${agent}_$seed eval SEED $seed"
    done
    for agent in hold random oracle; do
        echo "run step_signal/test ${agent}_$seed eval SEED $seed EVAL.AGENT $agent"
    done
done | side_by_side

methods=("hold=$(of_seeds hold)" "random=$(of_seeds random)" "untrained=$(of_seeds untrained)")
for agent in $AGENTS; do
    name=${agent^^}
    name=${name/_SPARSE/ sparse}
    methods+=("${name/_HER/ + HER}=$(of_seeds "$agent")")
done
python scripts/results_table.py "$ROWS" --task step_signal --figure "$OUT/curves.png" --collect \
    "${methods[@]}" "oracle=$(of_seeds oracle)"
echo "== all done; rows: $ROWS, curves: $OUT/curves.png, reports: $OUT/*/eval/*/*/report"
