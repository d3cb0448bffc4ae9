"""Turn a folder of recordings (<class>/*.wav|flac|mp3|ogg) into an audio corpus for training.

python scripts/prepare_audio.py recordings/ --out data/audio_data/mine
"""

from __future__ import annotations

import argparse
import sys
import wave
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.scenes.generate.corpus_layout import SPLITS, clip_path
from audio_separation.scenes.generate.prepare import PrepareOptions, prepare_corpus
from audio_separation.scenes.generate.recordings import SPLIT_BY


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    defaults = PrepareOptions()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", type=Path, help="folder with one subfolder of recordings a class (nested folders allowed)")
    add("--out", type=Path, required=True, help="the corpus, for example data/audio_data/mine")
    add("--seed", type=int, default=defaults.seed, help="of the split into heard and unheard (%(default)s)")
    add("--min-seconds", type=int, default=defaults.min_seconds, help="shortest clip (%(default)s)")
    add(
        "--max-seconds",
        type=int,
        default=defaults.max_seconds,
        help="longer recordings are cut into equal clips (%(default)s)",
    )
    add(
        "--val-fraction",
        type=float,
        default=defaults.val_fraction,
        help="of a class's duration (%(default)s)",
    )
    add(
        "--test-fraction",
        type=float,
        default=defaults.test_fraction,
        help="of a class's duration (%(default)s)",
    )
    add(
        "--split-by",
        choices=SPLIT_BY,
        default=defaults.split_by,
        help="what is one recording, never divided between splits: the manifest's recording_id, a file, or "
        "all files of one folder; auto: a matching manifest.csv in the folder or its parent, else file",
    )
    add("--manifest", type=Path, help="CSV file with the columns path and recording_id")
    add(
        "--distractor-only",
        nargs="*",
        metavar="CLASS",
        help="classes that only ever disturb (esc, where there is such a class)",
    )
    add("--no-chunks", action="store_true", help="do not write 1s_chunks/, which doubles the disk space")
    add(
        "--skip-broken",
        action="store_true",
        help="leave out files that cannot be decoded",
    )
    add("--allow-small", action="store_true", help="leave out classes with fewer than three recordings")
    add("--jobs", type=int, default=-1, help="processes (-1: one a core)")
    return parser.parse_args(arguments)


def print_summary(out: Path, clips: dict[str, dict[str, list[str]]]) -> None:
    """Number of clips and minutes of each class and split."""
    print(f"{'class':<20}" + "".join(f"{split:>24}" for split in SPLITS))
    totals = dict.fromkeys(SPLITS, 0.0)
    for name, of_class in clips.items():
        row = f"{name:<20}"
        for split in SPLITS:
            minutes = sum(_minutes(clip_path(out, split, clip)) for clip in of_class[split])
            totals[split] += minutes
            row += f"{len(of_class[split]):>12} {minutes:>7.1f} min"
        print(row)
    print(f"{'all':<20}" + "".join(f"{'':>12} {totals[split]:>7.1f} min" for split in SPLITS))


def _minutes(path: Path) -> float:
    with wave.open(str(path), "rb") as clip:
        return clip.getnframes() / clip.getframerate() / 60


def prepare(args: argparse.Namespace) -> None:
    """Make the corpus and say what is in it."""
    options = PrepareOptions(
        seed=args.seed,
        min_seconds=args.min_seconds,
        max_seconds=args.max_seconds,
        val_fraction=args.val_fraction,
        test_fraction=args.test_fraction,
        split_by=args.split_by,
        distractor_only=None if args.distractor_only is None else tuple(args.distractor_only),
        chunks=not args.no_chunks,
        skip_broken=args.skip_broken,
        allow_small=args.allow_small,
    )
    clips = prepare_corpus(args.source, args.out, options, args.manifest, args.jobs)
    print_summary(args.out, clips)
    print(f"wrote {args.out}; train on it with DATA.CORPUS {args.out.name}")


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0, or 2 after a mistake that the user can mend."""
    args = parse_arguments(arguments)
    return run_script("prepare_audio", lambda: prepare(args), "run the same command again")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
