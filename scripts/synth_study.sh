#!/usr/bin/env bash
# The study of docs/synth.md: ./scripts/synth_study.sh [OUT]
# sounds -> lookup tables and corpus -> PPO agents of four synthesizers, three seeds each -> test beside scripted agents.
# Run again to go on after an interruption; what is finished is skipped.
#   JOBS=N      runs at a time, a core each (default 2)
#   SEEDS="0 1 2"   SYNTHS="sine fm3 fm4 granular"
#   ROWS=FILE   where the rows go (default OUT/synth.json; those of docs/synth.md lie in results/synth.json)
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
OUT=${1:-runs/synth}
SEEDS=${SEEDS:-0 1 2}
SYNTHS=${SYNTHS:-sine fm3 fm4 granular}
ROWS=${ROWS:-$OUT/synth.json}
source scripts/setup.sh
source scripts/study.sh

AUDIO="$OUT/data/audio_data/synthetic/min20s_clips" # music, of the generated corpus
python scripts/generate_homes.py --sounds-only --out "$OUT"
python scripts/analyze_corpus.py "$AUDIO" --match 'music_*' --out "$OUT/data/synth/corpora/music"
for synth in $SYNTHS; do
    case $synth in fm4 | granular) subdivisions=11 ;; *) subdivisions=21 ;; esac # of four parameters: 14,641 rows
    python scripts/compute_lookup.py --synth "$synth" --subdivisions "$subdivisions" --out "$OUT/data/synth/tables/$synth"
done

for synth in $SYNTHS; do
    for seed in $SEEDS; do
        echo "run synth/${synth} ${synth}_$seed train SEED $seed"
    done
done | side_by_side
for synth in $SYNTHS; do # episodes of the test are drawn anew for each seed
    for seed in $SEEDS; do
        for targets in corpus dynamic; do
            test="synth/${synth}_test_$targets"
            echo "run $test ${synth}_$seed eval SEED $seed SYNTH.CORPUS_AUDIO $AUDIO"
            for agent in hold random greedy; do
                echo "run $test ${synth}_${agent}_$seed eval SEED $seed EVAL.AGENT $agent EVAL.REPORT_EPISODES 0"
            done
        done
    done
done | side_by_side

for synth in $SYNTHS; do
    python scripts/results_table.py "$ROWS" --task "$synth" --collect "hold=$(of_seeds "${synth}_hold")" \
        "random=$(of_seeds "${synth}_random")" "greedy=$(of_seeds "${synth}_greedy")" "PPO=$(of_seeds "$synth")" >/dev/null
done
python scripts/results_table.py "$ROWS"
echo "== all done; rows: $ROWS, reports with sounds: $OUT/*/eval/*/*/report"
