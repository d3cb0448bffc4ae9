#!/usr/bin/env python3
"""Check a dataset: what is missing, corrupt or inconsistent, scene by scene, with a cure for each.

    python scripts/check_data.py                                     # the generated homes
    python scripts/check_data.py --dataset mp3d --quick              # headers and lists: an overview
    python scripts/check_data.py --dataset mp3d --json faults.json   # every sample and checksum
    python scripts/check_data.py --dataset mp3d --scenes 17DRP5sb8fy # one scene, as a cluster job would

Nothing is changed, and nothing that a pickle holds is run. Exit status: 0 where all is sound, 1 where there are
faults (notes are none), 2 for a wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Optional

from yacs.config import CfgNode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.config import get_config
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import BACKENDS

ROOT = Path(__file__).resolve().parents[1]


def parse_arguments(arguments: Optional[list[str]] = None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, default=ROOT / "data", help="folder data/ (the repository's)")
    add("--sound-spaces", type=Path, default=ROOT / "sound_spaces", help="folder sound_spaces/ (likewise)")
    add("--dataset", default="homes", help="mp3d, replica, homes, or the name of your own (%(default)s)")
    configured = "(as configs/tasks/<dataset>.yaml says, or the default config)"
    add("--corpus", help=f"folder in data/audio_data {configured}")
    add("--passive", help=f"folder in data/passive_datasets {configured}")
    add("--active", help=f"folder in data/active_datasets {configured}")
    add("--scenes", nargs="+", metavar="SCENE", help="only these (all that there are)")
    add(
        "--quick",
        action="store_true",
        help="read headers and lists only: samples, checksums and values of depth are not looked at",
    )
    add("--jobs", type=int, default=-1, help="processes (-1: one a core)")
    add(
        "--backend",
        choices=BACKENDS,
        default="loky",
        help="joblib backend: processes of this machine, or the Dask cluster at DASK_SCHEDULER_ADDRESS "
        "(%(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="also write everything here; an earlier report is replaced")
    return parser.parse_args(arguments)


def dataset_config(dataset: str) -> CfgNode:
    """The config of a dataset: it names the corpus, the datapoints and the episodes that go with it."""
    path = ROOT / "configs" / "tasks" / f"{dataset}.yaml"
    return get_config(str(path)) if path.is_file() else get_config()


def check(options: argparse.Namespace) -> int:
    """Check, print and write; returns the exit status."""
    # heavy imports wait until the command line is known to be good
    from audio_separation.scenes.check.report import check_output, text, tree
    from audio_separation.scenes.check.run import Options, check_tree
    from audio_separation.scenes.layout import DatasetPaths, write_atomic

    if options.jobs == 0 or options.jobs < -1:
        raise UserError(f"--jobs {options.jobs}: expected a number of processes, or -1 for one a core")
    if options.json is not None:
        check_output(options.json)  # before hours of reading
    names = dataset_config(options.dataset).DATA
    paths = DatasetPaths(
        options.data.absolute(),  # as processes elsewhere have another working directory
        options.sound_spaces.absolute(),
        options.dataset,
        options.corpus or names.CORPUS,
        options.passive or names.PASSIVE_VERSION,
        options.active or names.ACTIVE_VERSION,
    )
    report = check_tree(paths, Options(options.scenes, options.quick, options.jobs, options.backend))
    print(text(report))
    if options.json is not None:
        write_atomic(options.json, (json.dumps(tree(report), indent=1) + "\n").encode())
    return 0 if report.sound else 1


def main(arguments: Optional[list[str]] = None) -> int:
    """Run the command line; exit status 0 (sound), 1 (faults), 2 (bad input) or 130 (Ctrl-C)."""
    options = parse_arguments(arguments)
    return run_script("check_data", lambda: check(options), "nothing was changed")


if __name__ == "__main__":
    sys.exit(main())
