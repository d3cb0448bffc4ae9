"""Draw episodes (near or far target) or passive datapoints over any scenes in SoundSpaces' layout.

    python scripts/make_episodes.py --dataset mp3d --name my_near_v1 --kind near
    python scripts/make_episodes.py --dataset mp3d --name my_far_v1 --kind far --distance 4 12 --sources 3
    python scripts/make_episodes.py --dataset mp3d --name walkers_v1 --kind near --moving distractors --speed 0.5
    python scripts/make_episodes.py --dataset mp3d --name my_points_v1 --kind passive --num 1000 train=30000

They are written in the published formats (docs/episodes.md) to data/active_datasets/<name> or
data/passive_datasets/<name>, with made_with.json beside them. The same options give the same bytes. The run may be
stopped at any time: the same command goes on with the scenes that have no file yet.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import BACKENDS

if TYPE_CHECKING:  # heavy imports wait until the command line is known to be good
    from audio_separation.scenes.episode_sets import Recipe, SplitPlan
    from audio_separation.scenes.layout import DatasetPaths

ROOT = Path(__file__).resolve().parents[1]
KINDS = {  # start distance (m), numbers of train and of the other splits, steps of a moving source's path
    "near": ((0.0, 0.0), (500, 50), 20),
    "far": ((4.0, 12.0), (500, 50), 100),
    "passive": ((0.0, 4.0), (30000, 1000), 0),
}


def parse_arguments(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_argument_group("what is made")
    add = what.add_argument
    add("--dataset", required=True, help="of the scenes: mp3d, replica, homes, or a folder name of your own")
    add("--name", required=True, help="of the version that is made, the config's DATA.ACTIVE_VERSION")
    add(
        "--kind",
        required=True,
        choices=sorted(KINDS),
        help="near: the agent starts near the target; far: away from it, all distances equally often; passive: "
        "datapoints for the pretraining of the separators",
    )
    add(
        "--splits",
        nargs="+",
        metavar="SPLIT",
        help="train valHeard valUnheard testHeard testUnheard (val: both), of passive train val test (all)",
    )
    add(
        "--scenes",
        nargs="+",
        metavar="SCENE",
        help="only these, each in its split (all of the published splits or of splits.json that are on disk)",
    )
    add("--leave-out", nargs="+", metavar="SCENE", default=[], help="not these scenes")
    add(
        "--num",
        nargs="+",
        metavar="N",
        default=[],
        help="a scene: a number for all splits, or split=number, as 500 val=50 (active: 500, of val and test 50; "
        "passive: 30000, 1000)",
    )
    add("--corpus", help="folder in data/audio_data (the only one there)")
    add("--seed", type=int, default=0, help="of everything that is drawn (%(default)s)")
    _add_places(parser.add_argument_group("where and how"))
    _add_run(parser.add_argument_group("running"))
    return parser.parse_args(arguments)


def _add_places(group: Any) -> None:
    add = group.add_argument
    add(
        "--sources",
        type=int,
        default=2,
        metavar="S",
        help="that play: the target and S-1 others (%(default)s)",
    )
    add(
        "--distance",
        type=float,
        nargs=2,
        metavar=("LEAST", "MOST"),
        help="from the start to the target along the graph, m (near: 0 0, at it, as published; far: 4 12; passive: "
        "0 4, of the receivers that are near)",
    )
    add(
        "--spacing",
        type=float,
        metavar="M",
        help="sources begin at least this far apart in a straight line, where the scene allows it (2)",
    )
    add(
        "--near-fraction",
        type=float,
        metavar="F",
        help="passive: part of the receivers that are near, the others are anywhere (0.7)",
    )
    add(
        "--source-nodes",
        choices=("rirs", "all"),
        default="rirs",
        help="rirs: sources stand where impulse responses are on disk; all: at any node, nothing is looked up "
        "(%(default)s)",
    )
    add(
        "--moving",
        choices=("none", "target", "distractors", "all"),
        default="none",
        help="which sources walk, along the edges of the graph, from one place drawn at random to the next "
        "(%(default)s)",
    )
    add("--speed", type=float, metavar="V", help="of moving sources, nodes a step of one second (1)")
    add(
        "--pause",
        type=int,
        nargs=2,
        metavar=("LEAST", "MOST"),
        help="steps that a moving source rests at each place it came to (0 0)",
    )
    add("--steps", type=int, metavar="N", help="positions of a path; it stays at the last (near 20, far 100)")


def _add_run(group: Any) -> None:
    add = group.add_argument
    add("--data", type=Path, default=ROOT / "data", help="folder of sounds and datasets (the repository's)")
    add(
        "--sound-spaces",
        type=Path,
        default=ROOT / "sound_spaces",
        help="folder of metadata and impulse responses (the repository's)",
    )
    add("--overwrite", action="store_true", help="delete what this script made under that name before")
    add("--jobs", type=int, default=-1, help="processes (-1: one a core)")
    add("--backend", choices=BACKENDS, default="loky", help="joblib backend (%(default)s)")


def recipe_of(options: argparse.Namespace) -> Recipe:
    """The recipe that the options describe.

    Raises:
        UserError: options that contradict each other, or values out of range.
    """
    from audio_separation.scenes.episode_sets import Recipe
    from audio_separation.scenes.walks import Motion

    passive, (distance, _, steps) = options.kind == "passive", KINDS[options.kind]
    if passive and (options.corpus or options.moving != "none" or options.spacing is not None):
        raise UserError("--corpus, --moving and --spacing are of episodes: leave them out of --kind passive")
    if not passive and options.near_fraction is not None:
        raise UserError("--near-fraction is an option of --kind passive: leave it out")
    if options.moving == "none" and any(x is not None for x in (options.speed, options.pause, options.steps)):
        raise UserError("--speed, --pause and --steps are of moving sources: say which with --moving")
    least, most = options.distance or distance
    spacing = 2.0 if options.spacing is None else options.spacing
    fraction = 0.7 if options.near_fraction is None else options.near_fraction
    if not 0 <= least <= most:
        raise UserError(f"--distance {least} {most}: expected the least and the most, from 0 m")
    if not 0 <= fraction <= 1 or not spacing >= 0 or options.sources < 1 or options.seed < 0:
        raise UserError("--sources is 1 or more, --spacing and --seed 0 or more, --near-fraction 0 to 1")
    motion = None
    if options.moving != "none":
        speed = 1.0 if options.speed is None else options.speed
        chosen_steps = steps if options.steps is None else options.steps
        motion = Motion(options.moving, chosen_steps, speed, tuple(options.pause or (0, 0)))
    return Recipe(
        kind=options.kind,
        seed=options.seed,
        num_sources=options.sources,
        distance_m=(least, most),
        spacing_m=spacing,
        near_fraction=fraction,
        source_nodes=options.source_nodes,
        motion=motion,
    )


def paths_of(options: argparse.Namespace) -> DatasetPaths:
    """Where everything lies; the corpus is the only one there is unless named.

    Raises:
        UserError: no such folder, or a corpus that has to be named.
    """
    from audio_separation.audio.clips import clip_folder
    from audio_separation.scenes.layout import DatasetPaths

    if Path(options.name).name != options.name or options.name.startswith("."):
        raise UserError(f"--name {options.name!r} should be the name of one folder, such as my_near_v1")
    corpus = options.corpus or ""
    if not corpus and options.kind != "passive":
        folder = options.data / "audio_data"
        found = sorted(f.name for f in folder.glob("*") if clip_folder(f, "train").is_dir())
        if len(found) != 1:
            raise UserError(
                f"{folder} holds {len(found)} corpora{': ' * bool(found)}{', '.join(found)}; name one with --corpus"
                + ("" if found else " and say where with --data (data/README.md: how to get or make one)")
            )
        (corpus,) = found
    paths = DatasetPaths(
        options.data, options.sound_spaces, options.dataset, corpus, options.name, options.name
    )
    paths.require(paths.metadata_root, f"the metadata of dataset {options.dataset}")
    return paths


def split_plans(options: argparse.Namespace, recipe: Recipe, paths: DatasetPaths) -> list[SplitPlan]:
    """What each split shall hold.

    Raises:
        UserError: an unknown split or scene, or a scene of another split.
    """
    from audio_separation.scenes.episode_sets import SplitPlan

    splits = list(dict.fromkeys(s for name in options.splits or recipe.splits for s in _named(name, recipe)))
    number = {split: KINDS[recipe.kind][1][split != "train"] for split in splits}
    for text in options.num:
        name, _, value = text.rpartition("=")
        if not value.isdecimal() or int(value) < 1:
            raise UserError(f"--num {text}: expected a number from 1, or split=number")
        chosen = _named(name, recipe) if name else recipe.splits
        number.update((split, int(value)) for split in chosen if split in number)
    scenes = _scenes_of(options, paths, splits)
    return [SplitPlan(split, tuple(scenes[split]), number[split]) for split in splits]


def _named(name: str, recipe: Recipe) -> list[str]:
    found = [split for split in recipe.splits if split == name]
    found = found or [split for split in recipe.splits if name in ("val", "test") and split.startswith(name)]
    if not found:
        raise UserError(f"no split {name!r}; --kind {recipe.kind} has {', '.join(recipe.splits)}")
    return found


def _scenes_of(
    options: argparse.Namespace, paths: DatasetPaths, splits: Sequence[str]
) -> dict[str, list[str]]:
    from audio_separation.scenes.splits import known_splits, scene_split, scenes_of_split

    kinds = {split: scene_split(split) for split in splits}
    if not options.scenes:
        scenes = {split: scenes_of_split(paths, split) for split in splits}
    else:
        known = known_splits(paths)
        if not known and len(set(kinds.values())) > 1:
            raise UserError(
                f"{paths.metadata_root / 'splits.json'} is missing, so it is unknown which of --scenes belong to "
                f"which of {', '.join(splits)}: write it, or give one kind with --splits"
            )
        of_kind = {k: set(known.get(k, ())) if known else set(options.scenes) for k in kinds.values()}
        stray = sorted(set(options.scenes) - set().union(*of_kind.values()))
        if stray:
            raise UserError(f"scene {stray[0]} of dataset {paths.dataset} is in no split {', '.join(splits)}")
        scenes = {split: sorted(of_kind[kinds[split]] & set(options.scenes)) for split in splits}
    scenes = {split: [s for s in names if s not in options.leave_out] for split, names in scenes.items()}
    empty = [split for split, names in scenes.items() if not names]
    if empty:
        raise UserError(f"no scene is left for split {', '.join(empty)}: leave it out of --splits")
    return scenes


def make(options: argparse.Namespace) -> None:
    """Make the version; prints one line at the end."""
    from tqdm import tqdm

    from audio_separation.scenes.episode_sets import claim_version, make_version, unfinished, version_root
    from audio_separation.training.run_dir import commit_id

    start = time.monotonic()
    recipe = recipe_of(options)
    paths = paths_of(options)
    plans = split_plans(options, recipe, paths)
    root = version_root(paths, recipe)
    claim_version(paths, recipe, plans, commit_id(), options.overwrite)
    todo = len(unfinished(paths, recipe, plans))
    results = make_version(paths, recipe, plans, options.jobs, options.backend)
    done = list(tqdm(results, desc=recipe.unit, total=todo, unit="scene"))
    unfit = {outcome.scene: outcome.why for outcome in reversed(done) if outcome.why}
    if unfit:
        scene, why = list(unfit.items())[-1]
        raise UserError(
            f"{len(unfit)} of the scenes cannot hold what was asked for, such as {scene} ({why}); leave them out: "
            f"--overwrite --leave-out {' '.join([*options.leave_out, *sorted(unfit)])}"
        )
    number = {plan.split: plan.per_scene for plan in plans}
    made = sum(number[outcome.split] for outcome in done)
    partial = {outcome.scene: outcome for outcome in done if outcome.sources < outcome.nodes}
    if partial:
        least = min(partial.values(), key=lambda outcome: outcome.sources / outcome.nodes)
        print(
            f"make_episodes: in {len(partial)} scenes sources stand at some nodes only, as there are no impulse "
            f"responses from the others (fewest in {least.scene}: {least.sources} of {least.nodes} nodes)",
            file=sys.stderr,
        )
    total = sum(plan.per_scene * len(plan.scenes) for plan in plans)
    spent = time.monotonic() - start
    key = "DATA.PASSIVE_VERSION" if recipe.kind == "passive" else "DATA.ACTIVE_VERSION"
    corpus = f" DATA.CORPUS {paths.corpus}" if paths.corpus else ""
    print(
        f"{made} {recipe.unit} made ({total} in all) in {spent:.0f} s: {root}; use them with DATASET "
        f"{paths.dataset}{corpus} {key} {options.name}"
    )


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command line; exit status 0, 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM)."""
    options = parse_arguments(arguments)
    return run_script("make_episodes", lambda: make(options))


if __name__ == "__main__":
    sys.exit(main())
