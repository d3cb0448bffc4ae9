#!/usr/bin/env python3
"""Compare live responses at the nodes of generated homes with the stored ones: direct delay, level and RT60.

    python scripts/compare_live.py --pairs 200 home_005 home_006

Both are simulated with the settings of the home, and both are estimates from random rays: the second table is how
much two live estimates of the same pose differ. Delays are compared where the source is in sight.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.errors import UserError


def parse_args(argv: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenes", nargs="+", metavar="SCENE", help="homes, such as home_005")
    parser.add_argument("--data", type=Path, default=Path("data"), help="DATA.ROOT (%(default)s)")
    parser.add_argument(
        "--sound-spaces", type=Path, default=Path("sound_spaces"), help="DATA.SOUND_SPACES (%(default)s)"
    )
    parser.add_argument("--pairs", type=int, default=200, help="of each scene (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="also write the tables to this file")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    """Compare scene by scene, then print and write the tables."""
    import numpy as np

    from audio_separation.audio.rir_store import open_rir_store
    from audio_separation.config import get_config
    from audio_separation.envs.live.build import load_live_scenes
    from audio_separation.envs.live.comparison import compare, draw_pairs
    from audio_separation.envs.live.scenes import HomeScene
    from audio_separation.scenes.layout import paths_from_config

    if args.pairs < 1:
        raise UserError(f"--pairs {args.pairs}: expected at least 1")
    words = [
        "DATA.ROOT",
        str(args.data),
        "DATA.SOUND_SPACES",
        str(args.sound_spaces),
        "SIMULATOR.TYPE",
        "live",
    ]
    config = get_config(None, words)
    store = open_rir_store(paths_from_config(config).rirs_root)
    results = {}
    for name, scene in load_live_scenes(config, args.scenes, images=False).items():
        if not isinstance(scene, HomeScene):
            raise UserError(
                f"{name} has no home.json: only generated homes say how their responses were made"
            )
        pairs = draw_pairs(scene, args.pairs, np.random.default_rng(args.seed))
        against_stored, against_itself = compare(scene, pairs, lambda *pair, n=name: store.load(n, *pair))
        results[name] = {"live - stored": against_stored.rows(), "live - live": against_itself.rows()}
        _show(name, results[name])
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1) + "\n")


def _show(name: str, tables: dict[str, dict[str, dict[str, float]]]) -> None:
    from audio_separation.evaluation.tables import text_table

    rows = [[name, "pairs", "mean", "median deviation", "largest"]]
    for title, table in tables.items():
        for quantity, values in table.items():
            numbers = [f"{values[k]:.3f}" for k in ("mean", "median_deviation", "largest_deviation")]
            rows.append([f"{title}: {quantity}", str(values["pairs"]), *numbers])
    print(text_table(rows), end="\n\n", flush=True)


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    args = parse_args(argv)
    return run_script("compare_live", lambda: run(args), "nothing was written")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
