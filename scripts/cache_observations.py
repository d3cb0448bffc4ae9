#!/usr/bin/env python3
"""Cache RGB-D of every graph node and rotation of scenes in SoundSpaces' layout.

    python scripts/cache_observations.py --dataset mp3d
    python scripts/cache_observations.py --dataset mp3d --renderer raycast --format both --scenes 17DRP5sb8fy
    python scripts/cache_observations.py --dataset mp3d --convert mapped
    python scripts/cache_observations.py --dataset mp3d --compare raycast

Meshes are read from data/scene_datasets/<dataset>, nodes from sound_spaces/metadata/<dataset>; the views come to
sound_spaces/scene_observations/<dataset>/<scene>.pkl (the published form) and .safetensors (memory-mapped: opens at
once, is shared by processes, and is taken where both are there). The run may be stopped at any time: the same
command goes on with the node where it was. Scenes that cannot be rendered are named at the end; the status is 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from audio_separation.command_line import run_script
from audio_separation.errors import UserError
from audio_separation.scenes.generate.parallel import BACKENDS, run_tasks

if TYPE_CHECKING:  # heavy imports wait until the command line is known to be good
    from audio_separation.envs.observation_cache import Plan, ViewSettings

ROOT = Path(__file__).resolve().parents[1]
CHUNK = 4  # nodes a task
COMPARED_NODES = 8  # a scene
LEAST_AGREEMENT = 0.95  # part of the pixels


def parse_arguments(arguments: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """The command line; ``--help`` explains every option."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, help="mp3d, replica, homes, or a folder name of your own")
    add("--scenes", nargs="+", metavar="SCENE", help="only these (all that have metadata)")
    add(
        "--renderer",
        choices=("auto", "habitat", "raycast"),
        default="auto",
        help="habitat: habitat-sim; raycast: our ray caster, which draws generated homes as generate_homes.py does; "
        "auto: raycast for generated homes, else habitat-sim where it is installed (%(default)s)",
    )
    add("--resolution", type=int, default=128, metavar="PIXELS", help="width and height (%(default)s)")
    add("--fov", type=float, default=90.0, metavar="DEG", help="field of view (%(default)s)")
    add(
        "--camera-height",
        type=float,
        metavar="M",
        help="of the camera above the node (1.25, Habitat's default, as in the published views)",
    )
    add("--format", choices=("pickle", "mapped", "both"), default="pickle", help="(%(default)s)")
    doing = parser.add_mutually_exclusive_group()
    doing.add_argument(
        "--convert",
        choices=("mapped", "pickle"),
        help="render nothing: write this form of each cache from the other one, which stays",
    )
    doing.add_argument(
        "--compare",
        choices=("habitat", "raycast"),
        help=f"cache nothing: render {COMPARED_NODES} nodes of each scene anew and print how many of the cache's "
        "depths are within 5 cm of theirs; status 1 where it is less than 95 %%",
    )
    add("--gpu", type=int, default=-1, help="that habitat-sim renders on (-1: software rendering)")
    add("--data", type=Path, default=ROOT / "data", help="folder of scene_datasets (the repository's)")
    add(
        "--sound-spaces",
        type=Path,
        default=ROOT / "sound_spaces",
        help="folder of metadata and scene_observations (the repository's)",
    )
    add("--out", type=Path, help="folder of the caches (sound_spaces/scene_observations/<dataset>)")
    add("--overwrite", action="store_true", help="make anew what is there")
    add("--jobs", type=int, help="processes (-1, one a core; with habitat-sim 1)")
    add("--backend", choices=BACKENDS, default="loky", help="joblib backend (%(default)s)")
    return parser.parse_args(arguments)


class Run:
    """What is common to the scenes of a run, and what went wrong in some."""

    def __init__(self, options: argparse.Namespace) -> None:
        from audio_separation.scenes.layout import DatasetPaths

        self.options = options
        # processes elsewhere have another working directory
        self.paths = DatasetPaths(options.data.absolute(), options.sound_spaces.absolute(), options.dataset)
        self.out = (options.out or self.paths.observations("x").parent).absolute()
        self.scenes = self._scenes()
        self.faults: dict[str, str] = {}

    def _scenes(self) -> list[str]:
        root = self.paths.require(self.paths.metadata_root, f"metadata of dataset {self.options.dataset}")
        there = sorted(path.parent.name for path in root.glob("*/graph.pkl"))
        unknown = sorted(set(self.options.scenes or []) - set(there))
        if unknown or not there:
            raise UserError(
                f"{root} holds no graph.pkl of {', '.join(unknown) or 'any scene'}; {self.paths.cure}"
            )
        return sorted(set(self.options.scenes)) if self.options.scenes else there

    def target(self, scene: str) -> Path:
        return self.out / f"{scene}.pkl"

    def settings(self, renderer: str) -> ViewSettings:
        from audio_separation.envs.observation_cache import ViewSettings
        from audio_separation.scenes.datasets import CAMERA_HEIGHT_M

        options = self.options
        height = CAMERA_HEIGHT_M if options.camera_height is None else options.camera_height
        return ViewSettings(renderer, options.resolution, options.fov, height, options.gpu)

    def jobs(self, renderers: set[str]) -> int:
        if self.options.jobs is not None:
            return self.options.jobs
        return 1 if "habitat" in renderers else -1

    def each(self, scenes: list[str], work: Callable[[str], Any]) -> dict[str, Any]:
        """``work`` of every scene; those that raise a UserError are noted as faulty."""
        results = {}
        for scene in scenes:
            try:
                results[scene] = work(scene)
            except UserError as error:
                self.faults[scene] = str(error)
        return results


def cache(run: Run) -> str:
    """Render what is not cached yet; returns the sentence on what was done."""
    from tqdm import tqdm

    start = time.monotonic()
    forms = {"pickle", "mapped"} if run.options.format == "both" else {run.options.format}
    plans: dict[str, Plan] = {
        s: p for s, p in run.each(run.scenes, lambda s: _plan(run, s, forms)).items() if p
    }
    kept = len(run.scenes) - len(plans) - len(run.faults)
    jobs = run.jobs({plan.settings.renderer for plan in plans.values()})
    total = sum(len(plan.parts) for plan in plans.values())
    done = total - sum(len(plan.missing()) for plan in plans.values())
    with tqdm(total=total, initial=done, desc="views", unit="node") as bar:

        def make(scene: str) -> None:
            bar.set_postfix_str(scene)
            _render(run, plans[scene], jobs, bar)
            _join(run, plans[scene], forms)

        made = run.each(list(plans), make)
    said = f"{len(made)} scenes cached in {time.monotonic() - start:.0f} s: {run.out}"
    return said + (f"; {kept} were there already (--overwrite makes them anew)" if kept else "")


def _plan(run: Run, scene: str, forms: set[str]) -> Optional[Plan]:
    """What to do for a scene; None where all is there."""
    from audio_separation.envs.observation_cache import (
        check_same_settings,
        choose_renderer,
        forms_there,
        plan_scene,
    )

    target, options = run.target(scene), run.options
    there = forms_there(target)
    settings = run.settings(choose_renderer(options.renderer, run.paths, scene))
    if forms <= there and not options.overwrite:
        check_same_settings(target, settings)
        return None
    plan = plan_scene(run.paths, scene, settings, target)
    begun = plan.folder.is_dir()
    if there and not options.overwrite and not begun:
        raise UserError(
            f"{target} is there in the form {there.pop()} only; --convert writes the other form of it, --overwrite "
            "renders both anew"
        )
    if options.overwrite and there - forms:
        raise UserError(
            f"{target} is also there in the form {(there - forms).pop()}, which would be out of date; give --format "
            "both, or delete it"
        )
    return plan


def _render(run: Run, plan: Plan, jobs: int, bar: Any) -> None:
    from audio_separation.envs.observation_cache import render_nodes

    nodes = [(plan.parts[v], plan.graph.positions[v]) for v in plan.missing()]
    tasks = [
        (render_nodes, run.paths, plan.scene, plan.settings, nodes[k : k + CHUNK])
        for k in range(0, len(nodes), CHUNK)
    ]
    if not tasks:
        return
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        with run_tasks(tasks, jobs, run.options.backend) as counts:
            for count in counts:
                bar.update(count)
    except TerminatedWorkerError:
        raise UserError(
            "a process that rendered it was killed (out of memory, or no graphics for habitat-sim); --jobs 1 takes "
            "least memory and shows the renderer's own messages"
        ) from None


def _join(run: Run, plan: Plan, forms: set[str]) -> None:
    from audio_separation.envs.observation_cache import forms_there, join_parts

    join_parts(plan, forms if run.options.overwrite else forms - forms_there(plan.target))


def convert(run: Run) -> str:
    """Write the other form of every cache; returns the sentence on what was done."""
    from tqdm import tqdm

    from audio_separation.envs.observation_cache import convert as convert_scene

    form, overwrite = run.options.convert, run.options.overwrite
    with tqdm(total=len(run.scenes), desc=f"to {form}", unit="scene") as bar:

        def make(scene: str) -> None:
            convert_scene(run.paths, scene, run.target(scene), form, overwrite)
            bar.update()

        made = run.each(run.scenes, make)
    return (
        f"{len(made)} caches converted to the form {form}: {run.out}; what they were made from may be deleted"
    )


def compare(run: Run) -> str:
    """Print the agreement of each scene's cache with views that are rendered anew; returns the summary."""
    from audio_separation.envs.observation_cache import choose_renderer
    from audio_separation.envs.observation_cache import compare as compare_scene

    def measure(scene: str) -> float:
        settings = run.settings(choose_renderer(run.options.compare, run.paths, scene))
        part, nodes = compare_scene(run.paths, scene, settings, run.target(scene), COMPARED_NODES)
        print(f"{scene}: {100 * part:.2f} % of the depths of {nodes} nodes within 5 cm")
        if part < LEAST_AGREEMENT:
            raise UserError(
                f"only {100 * part:.2f} % of the cache's depths agree with {settings.renderer}'s; is it of this mesh, "
                f"with the camera at {settings.camera_height_m} m and a field of view of {settings.fov_deg} degrees?"
            )
        return part

    parts = run.each(run.scenes, measure)
    return f"{len(parts)} of {len(run.scenes)} scenes agree"


def check_options(options: argparse.Namespace) -> None:
    """Refuse values out of range, and habitat-sim where it is not installed.

    Raises:
        UserError: naming the option.
    """
    if not 1 <= options.resolution <= 4096:
        raise UserError(f"--resolution {options.resolution}: expected 1 to 4096 pixels")
    if not 1 <= options.fov <= 170:
        raise UserError(f"--fov {options.fov}: expected 1 to 170 degrees")
    if options.camera_height is not None and not 0 <= options.camera_height <= 10:
        raise UserError(f"--camera-height {options.camera_height}: expected 0 to 10 m")
    if options.jobs == 0 or (options.jobs is not None and options.jobs < -1):
        raise UserError(f"--jobs {options.jobs}: expected a number of processes, or -1 for one a core")
    if "habitat" in (options.renderer, options.compare):
        from audio_separation.envs.habitat.sim_views import require_habitat_sim

        require_habitat_sim()


def work(options: argparse.Namespace) -> int:
    """Do what was asked for; status 1 where some scenes failed."""
    check_options(options)
    run = Run(options)
    print(convert(run) if options.convert else compare(run) if options.compare else cache(run))
    for scene, fault in run.faults.items():
        print(f"cache_observations: {scene}: {fault}", file=sys.stderr)
    return 1 if run.faults else 0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Runs the command line; exit status 0, 1 (some scenes failed), 2 (bad input), 130 (Ctrl-C) or 143 (SIGTERM)."""
    options = parse_arguments(arguments)
    return run_script("cache_observations", lambda: work(options))


if __name__ == "__main__":
    sys.exit(main())
