"""Analyse a folder of recordings: one CSV of descriptors for each file, one row for each frame.

python scripts/analyze_corpus.py recordings/ --corpus mine
python scripts/analyze_corpus.py recordings/ --match 'music_*' --held-out 0.3 --out data/synth/corpora/music

Files (WAV, FLAC, OGG, MP3, any rate, any number of channels) are divided into the folders train and test; corpus.json
says which, and how they were analysed. Interrupted, the same command goes on; the result does not depend on --jobs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from audio_separation.command_line import run_script
from audio_separation.envs.synth.corpus import SPLITS
from audio_separation.envs.synth.corpus_jobs import CorpusJob, CorpusRun

CORPORA = Path("data/synth/corpora")


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line; the published spellings are other names of the same options."""
    defaults = CorpusJob()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("source", type=Path, metavar="AUDIO_DIR", help="folder of recordings, with its subfolders")
    text = f"name of the corpus, in {CORPORA}; default: that of the folder"
    add("--corpus", "--CORPUS_NAME", metavar="NAME", help=text)
    add("--out", type=Path, metavar="DIR", help="folder of the corpus instead")
    text = "only files whose name or path in the folder matches, such as 'music_*'"
    add("--match", default=defaults.match, metavar="PATTERN", help=text)
    text = "that sounds are resampled to (%(default)s)"
    add("--rate", type=int, default=defaults.rate_hz, metavar="HZ", help=text)
    text = "samples of a frame (%(default)s)"
    add("--window", "--WINDOW_SIZE", type=int, default=defaults.window, metavar="N", help=text)
    text = "samples from frame to frame; default: half the window"
    add("--hop", type=int, metavar="N", help=text)
    text = "share of the files in the split test (%(default)s)"
    add("--held-out", type=float, default=defaults.held_out, metavar="SHARE", help=text)
    add("--seed", type=int, default=defaults.seed, help="of the draw of these files (%(default)s)")
    add("--jobs", type=int, default=-1, metavar="N", help="processes (-1: one a core)")
    text = "leave out files that cannot be decoded, are empty or silent, and list them"
    add("--skip-broken", action="store_true", help=text)
    add("--overwrite", action="store_true", help="replace a corpus that is there")
    return parser.parse_args(argv)


def work(args: argparse.Namespace) -> None:
    """Analyse, or say that it is there."""
    hop = args.window // 2 if args.hop is None else args.hop
    job = CorpusJob(args.match, args.rate, args.window, hop, args.held_out, args.seed)
    folder = args.out or CORPORA / (args.corpus or args.source.resolve().name)
    run = CorpusRun(args.source, folder, job, args.overwrite, args.skip_broken)
    if run.finished_before():
        print(f"{folder}: finished before, kept")
        return
    outcomes = []
    with tqdm(total=len(run.recordings), unit="file", disable=None) as bar:
        for outcome in run.analyse(args.jobs):
            outcomes.append(outcome)
            bar.update()
    content = run.finish(outcomes)
    for split in SPLITS:
        files = [one for one in content["files"].values() if one["split"] == split]
        seconds, frames = (sum(one[key] for one in files) for key in ("seconds", "frames"))
        print(f"{folder / split}: {len(files)} files, {seconds / 60:.1f} min, {frames} frames")
    if content["skipped"]:
        print(f"left out {len(content['skipped'])}:")
        for one in content["skipped"]:
            print(f"  {one['fault']}")


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    args = parse_arguments(argv)
    return run_script("analyze_corpus", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
