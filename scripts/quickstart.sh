#!/usr/bin/env bash
# The whole loop on one machine: ./scripts/quickstart.sh [OUT]
# homes -> separators pretrained -> agent trained -> validated -> tested beside the baselines -> table.
# Run again to go on after an interruption; what is finished is skipped.
#   AUDIO=DIR   real recordings (DIR/<class>/*.wav|flac|mp3|ogg) instead of the synthetic corpus
#   NPROC=N     processes of torchrun (default: one a GPU; without GPUs 2, and 1 to pretrain)
#   SEED=N      seed of homes and training (default 0)
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-}" in -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
OUT=${1:-runs/quickstart}
SEED=${SEED:-0}
source scripts/setup.sh
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
started=$(date +%s)
trap 'echo "== stopped; nothing is lost: run the same command again to go on" >&2; exit 130' INT TERM

GPUS=$(python -c 'import torch; print(torch.cuda.device_count())')
# on CPUs the separators train faster in one process with all threads: batch normalisation over two processes
# waits for the other one at every layer
PRETRAIN_NPROC=${NPROC:-$((GPUS > 0 ? GPUS : 1))}
NPROC=${NPROC:-$((GPUS > 0 ? GPUS : 2))}
export OMP_NUM_THREADS=1 # each process sets its own number of torch threads

CORPUS=synthetic
if [ -n "${AUDIO:-}" ]; then CORPUS=recordings; fi
DATA=(DATA.ROOT "$OUT/data" DATA.SOUND_SPACES "$OUT/sound_spaces" DATA.CORPUS "$CORPUS")

stage() { # NAME COMMAND...: say what runs and how long it took
    local name=$1 begun
    shift
    begun=$(date +%s)
    echo "== $name"
    "$@"
    echo "== $name done in $(($(date +%s) - begun)) s"
}
run() { torchrun --standalone --nproc_per_node "$NPROC" main.py "$@"; }
pretrain() { NPROC=$PRETRAIN_NPROC run "$@"; }

if [ -n "${AUDIO:-}" ]; then
    stage "prepare the recordings" python scripts/prepare_audio.py "$AUDIO" --out "$OUT/data/audio_data/$CORPUS" --seed "$SEED" --no-chunks
fi
stage "homes" python scripts/generate_homes.py --preset mini --out "$OUT" --corpus "$CORPUS" --seed "$SEED"
stage "pretrain the separators" pretrain --run-type train --exp-config configs/pretrain_passive_small.yaml \
    --model-dir "$OUT/passive" SEED "$SEED" "${DATA[@]}"
stage "train the agent" run --run-type train --exp-config configs/train/near_target_small.yaml \
    --model-dir "$OUT/near_target" SEED "$SEED" "${DATA[@]}" TRAIN.PASSIVE_CHECKPOINT "$OUT/passive"
stage "validate all checkpoints" run --run-type eval --exp-config configs/val/near_target_unheard.yaml \
    --model-dir "$OUT/near_target" "${DATA[@]}"
for sounds in near_target near_target_unheard; do
    for agent in policy stand rotate random; do
        stage "test: $sounds, $agent" run --run-type eval --exp-config "configs/test/$sounds.yaml" \
            --model-dir "$OUT/near_target" EVAL.AGENT "$agent" "${DATA[@]}"
    done
done
python scripts/summarise.py "$OUT/near_target" --out "$OUT/summary.json" --table "$OUT/table.md"
echo "== all done in $(($(date +%s) - started)) s; table: $OUT/table.md, numbers: $OUT/summary.json," \
    "pictures and sounds: $OUT/near_target/eval/"
