# Sourced by the studies: runs of main.py side by side, each with a log, and the model dirs of a method's seeds.
# shellcheck shell=bash
mkdir -p "$OUT"
trap 'echo "== stopped; nothing is lost: run the same command again to go on" >&2; exit 130' INT TERM
export OMP_NUM_THREADS=1 OUT

run() { # CONFIG NAME TYPE KEY VALUE...: one line of progress and a log
    local config=$1 name=$2 type=$3 log
    log="$OUT/$name.$type.log"
    shift 3
    python main.py --run-type "$type" --exp-config "configs/$config.yaml" --model-dir "$OUT/$name" \
        DATA.ROOT "$OUT/data" THREADS 1 "$@" >>"$log" 2>&1 ||
        { echo "== $name ($type) failed: $(tail -n 1 "$log")" >&2; return 1; }
    echo "== $name ($type) done"
}
export -f run
side_by_side() { tr '\n' '\0' | xargs -0 -P "${JOBS:-2}" -I{} bash -c '{}'; } # a command a line
of_seeds() { for seed in $SEEDS; do printf '%s,' "$OUT/$1_$seed"; done | sed 's/,$//'; }
