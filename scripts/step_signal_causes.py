"""Measure why the agent of the question behind docs/step_signal.md stays at the same values for ever.

python scripts/step_signal_causes.py --numbers runs/causes.json --figures runs/causes
python scripts/step_signal_causes.py --numbers runs/causes.json --figures runs/causes --seeds 0 1 2 --jobs 2

Each cause by itself takes seconds. With --seeds an agent is also trained with one fault at a time, a minute each; run
again to go on after an interruption, what is trained is kept. The numbers of the docs lie in
results/step_signal_causes.json, their figures in docs/step_signal.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Iterator

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from audio_separation.command_line import run_script
from audio_separation.config import get_config
from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.errors import UserError
from audio_separation.evaluation.figures import save_png
from audio_separation.evaluation.step_signal import causes
from audio_separation.evaluation.step_signal.figures import actions_figure, filters_figure
from audio_separation.evaluation.tables import markdown_table
from audio_separation.training.run_dir import plain_config, run_record, write_json, writing

CONFIG = Path(__file__).resolve().parents[1] / "configs/step_signal/ddpg.yaml"
EPISODES = 100  # of the split test


def read_trained(path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The trainings that ``path`` holds; none where there is no such file.

    Raises:
        UserError: it is another file, or its trainings had other settings.
    """
    if not path.exists():
        return []
    try:
        content = json.loads(path.read_text())
        trained, stored = list(content["trained"]), content["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{path} holds no numbers of this script; give --numbers another file, or remove it"
        ) from None
    if trained and stored != settings:
        other = [key for key in settings if stored.get(key) != settings[key]]
        raise UserError(
            f"{path} holds trainings with other settings ({', '.join(other[:3]) or 'of more keys'}); give --numbers "
            "another file, or remove it"
        )
    return trained


def train_one(name: str, seed: int) -> dict[str, Any]:
    """Train with a fault and test."""
    import torch

    from audio_separation.evaluation.step_signal.faults import FAULTS, train_with

    torch.set_num_threads(1)
    success = train_with(FAULTS[name], get_config(str(CONFIG), ["SEED", str(seed)]), EPISODES)
    return {"fault": name, "cause": FAULTS[name].cause, "seed": seed, "success": success}


def train_all(wanted: list[tuple[str, int]], jobs: int) -> Iterator[dict[str, Any]]:
    """Train side by side; each as it is done."""
    from joblib import Parallel, delayed

    return Parallel(jobs, return_as="generator_unordered")(delayed(train_one)(*one) for one in wanted)


def faults_table(trained: list[dict[str, Any]]) -> str:
    """A Markdown table: a fault a row, success of each seed."""
    names = list(dict.fromkeys(one["fault"] for one in trained))
    seeds = sorted({one["seed"] for one in trained})
    rows = [["one fault", "cause", *(f"success %, seed {seed}" for seed in seeds)]]
    for name in names:
        found = {one["seed"]: one for one in trained if one["fault"] == name}
        cause = next(iter(found.values()))["cause"]
        cells = [f"{100 * found[seed]['success']:.0f}" if seed in found else "-" for seed in seeds]
        rows.append([name, str(cause or "-"), *cells])
    return markdown_table(rows)


def work(args: argparse.Namespace) -> None:
    """Measure, draw, train what is missing."""
    config = get_config(str(CONFIG))
    sections = ("STEP_SIGNAL.", "SB3.")
    settings = {key: value for key, value in plain_config(config).items() if key.startswith(sections)}
    trained = read_trained(args.numbers, settings)
    content: dict[str, Any] = {
        "record": run_record(config),
        "settings": settings,
        "episodes": EPISODES,
        "causes": causes.measure_causes(StepSignalEnv(config), seed=0),
        "trained": trained,
    }

    def save() -> None:
        with writing(args.numbers):
            args.numbers.parent.mkdir(parents=True, exist_ok=True)
            write_json(args.numbers, content)

    save()
    for cause, numbers in content["causes"].items():
        print(f"{cause}: " + ", ".join(f"{name} {value:.6g}" for name, value in numbers.items()), flush=True)
    actors = causes.linear_actors(10, causes.EPISODES, np.random.default_rng(0))
    with writing(args.figures):
        save_png(actions_figure(actors), args.figures / "actions.png")
        save_png(filters_figure(), args.figures / "filters.png")
    if not args.seeds:
        return
    from audio_separation.evaluation.step_signal.faults import FAULTS

    order = [(name, seed) for seed in args.seeds for name in FAULTS]
    done = {(one["fault"], one["seed"]) for one in trained}
    for one in train_all([pair for pair in order if pair not in done], args.jobs):
        trained.append(one)
        trained.sort(key=lambda t: (list(FAULTS).index(t["fault"]), t["seed"]))
        save()
        print(f"{one['fault']}, seed {one['seed']}: success {100 * one['success']:.0f} %", flush=True)
    print(faults_table(trained))


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--numbers", type=Path, required=True, help="JSON file of numbers and trainings")
    parser.add_argument("--figures", type=Path, required=True, help="folder of actions.png and filters.png")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="train with one fault at a time")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time, a core each (default 1)")
    args = parser.parse_args()
    return run_script("step_signal_causes.py", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main())
