"""Make a data set of furnished homes: RGB-D views, binaural impulse responses, sounds and episodes.

    python scripts/generate_homes.py                      # preset mini: 7 homes, about a minute
    python scripts/generate_homes.py --preset small --out /big/disk
    python scripts/generate_homes.py --sounds-only        # the corpus alone, for the audition tasks

Nothing is downloaded. Everything is drawn from --seed. The run may be stopped at any time: the same command
goes on with the first home that is not finished.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import BACKENDS
from audio_separation.scenes.generate.plan import PRESETS

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--preset",
        choices=sorted(PRESETS),
        default="mini",
        help="mini: 4 train, 1 val, 2 test homes of 15-30 nodes; small: 16, 4, 6 homes of 40-64 nodes "
        "(%(default)s)",
    )
    add("--out", type=Path, default=ROOT, help="folder that gets data/ and sound_spaces/ (the repository)")
    add("--seed", type=int, default=0, help="of everything that is drawn (%(default)s)")
    add(
        "--engine",
        choices=("auto", "rlr", "pyroomacoustics"),
        default="auto",
        help="acoustics: rlr-audio-propagation (SoundSpaces 2.0's; CC-BY-NC, needs a C++ compiler to install) or "
        "the simpler pyroomacoustics (MIT); auto takes the first that can be imported",
    )
    add("--rays", type=int, default=0, help="indirect rays a receiver and heading (0: as the preset says)")
    add(
        "--sources",
        type=int,
        default=-1,
        metavar="N",
        help="sources only at N nodes spread over each home, which saves time and disk; 0: at every node "
        "(as the preset says: mini all, small 16)",
    )
    add("--grid", type=float, default=1.0, help="spacing of the nodes, m: 1 or 0.5 (%(default)s)")
    add(
        "--wav",
        action="store_true",
        help="impulse responses as SoundSpaces' WAV tree instead of packed files",
    )
    add("--corpus", default="synthetic", help="folder in data/audio_data; `synthetic` is made where absent")
    add("--sounds-only", action="store_true", help="make the corpus and no homes")
    add("--jobs", type=int, default=-1, help="processes (-1: one a core)")
    add(
        "--backend",
        choices=BACKENDS,
        default="loky",
        help="joblib backend: processes of this machine, or the Dask cluster at DASK_SCHEDULER_ADDRESS "
        "(%(default)s)",
    )
    add("--figures", action="store_true", help="also write plan.png and views.png beside each home's mesh")
    return parser.parse_args(arguments)


def generate(options: argparse.Namespace) -> None:
    """Corpus, homes, then episodes; prints one line at the end."""
    # heavy imports wait until the command line is known to be good
    from audio_separation.scenes.generate.acoustics import engine_named
    from audio_separation.scenes.generate.corpus import generate_corpus
    from audio_separation.scenes.generate.dataset import (
        check_same_settings,
        dataset_paths,
        make_datasets,
        make_scenes,
    )
    from audio_separation.scenes.generate.scene import Settings

    start = time.monotonic()
    preset = PRESETS[options.preset]
    if options.grid not in (1.0, 0.5):
        raise UserError(f"--grid {options.grid}: expected 1 or 0.5 m.")
    if options.rays < 0 or options.sources < -1 or 0 < options.sources < 2:
        raise UserError(
            "--rays must be positive, and --sources 0 or at least 2 (an episode has two sources)."
        )
    engine, version = engine_named(options.engine)
    settings = Settings(
        preset=options.preset,
        seed=options.seed,
        engine=engine,
        engine_version=version,
        rays=options.rays or preset.rays,
        grid_m=options.grid,
        sources=preset.sources if options.sources < 0 else options.sources,
        storage="wav" if options.wav else "packed",
    )
    paths = dataset_paths(options.out, options.corpus)
    if not options.sounds_only:
        check_same_settings(paths, settings)
    if options.corpus == "synthetic":
        if not (paths.corpus_root / "corpus.json").is_file():
            generate_corpus(paths.corpus_root, options.seed, options.preset, options.jobs)
    elif not paths.corpus_root.is_dir():
        raise UserError(
            f"{paths.corpus_root} does not exist; make it with scripts/prepare_audio.py, or leave --corpus out."
        )
    if options.sounds_only:
        print(f"corpus: {paths.corpus_root}")
        return
    made = make_scenes(paths, settings, options.jobs, options.backend, options.figures)
    make_datasets(paths, settings)
    spent = time.monotonic() - start
    print(f"{len(made)} homes made ({sum(preset.scenes)} in all) in {spent:.0f} s: {paths.metadata_root}")


def main() -> int:
    """Runs the command line; exit status 0, 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM)."""
    options = parse_arguments()
    return run_script("generate_homes", lambda: generate(options))


if __name__ == "__main__":
    sys.exit(main())
