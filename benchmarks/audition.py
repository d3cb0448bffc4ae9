#!/usr/bin/env python3
"""Steps per second of the audition environment, by shape of the room and order of reflection.

    python benchmarks/audition.py [--shapes shoebox polygon l_shape] [--orders 2 6 10] [--seconds 4] [--json OUT]

An agent that moves at random, resets counted; one process. `steps_per_s` keeps responses of poses that come again
(AUDITION.CACHE_MB), `uncached_steps_per_s` keeps none. The plain way is that of the published systems: the same agent,
a room built at every step and `room.simulate()` with the library's own settings. `ratio` is ours over plain, from
rounds taken in turn. Before, both hear the same: `difference_db` is the energy of what they differ by, without the
library's high-pass filter, which ours leaves out. The published figure is about 20 steps a second.
"""

from __future__ import annotations

import os
import sys
import tempfile
from typing import Any, Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness  # first of ours: it puts the package on the path
import numpy as np
import pyroomacoustics as pra
from world import write_clips
from yacs.config import CfgNode

from audio_separation.config import get_config
from audio_separation.envs.audition.acoustics import filter_delay
from audio_separation.envs.audition.build import build_env
from audio_separation.envs.audition.env import AuditionEnv
from audio_separation.envs.audition.world import Pose, ear_points
from audio_separation.scenes.layout import paths_from_config

TOLERANCE_DB = -60.0


def plain_room(env: AuditionEnv, past: int) -> pra.Room:
    """A room with the sources that sound, each with the window of this step and ``past`` samples before."""
    world, plan = env.world, env.world.episode.plan
    corners, material = np.array(plan.corners), pra.Material(plan.absorption)
    if plan.shape == "shoebox":
        room = pra.ShoeBox(corners.max(0), fs=env.settings.RATE, materials=material, max_order=plan.max_order)
    else:
        room = pra.Room.from_corners(
            corners.T, fs=env.settings.RATE, materials=material, max_order=plan.max_order
        )
    for s in np.flatnonzero(world.active):
        first = world.episode.starts[s] + world.step_count * world.length
        signal = world.sounds.window(
            world.episode.clips[s], first - past, past + world.length + filter_delay()
        )
        room.add_source(world.episode.sources[s], signal=signal)
    ears = ear_points(Pose(world.position, world.heading_deg), env.settings)
    room.add_microphone_array(np.array(ears).T)
    return room


def difference_db(env: AuditionEnv) -> float:
    """Energy of what the plain way hears otherwise over that of what it hears, without the high-pass filter."""
    past = env.settings.RATE
    pra.constants.set("rir_hpf_enable", False)
    room = plain_room(env, past)
    room.simulate()
    pra.constants.set("rir_hpf_enable", True)
    begin = past + filter_delay()
    theirs = room.mic_array.signals[:, begin : begin + env.world.length]
    ours = env.world.source_images().sum(0)
    return float(10 * np.log10(np.square(ours - theirs).sum() / np.square(theirs).sum()))


def endless_steps(env: AuditionEnv) -> Iterator[None]:
    """Play at random for ever."""
    env.action_space.seed(0)
    env.reset(seed=0)
    while True:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        yield


def endless_plain_steps(env: AuditionEnv) -> Iterator[None]:
    """The same play, heard the plain way."""
    env.action_space.seed(0)
    env.reset(seed=0)
    while True:
        outcome = env.world.step(env.action_space.sample())
        if outcome.terminated or outcome.truncated:
            env.reset()
        else:
            plain_room(env, 0).simulate()
        yield


def measure(config: CfgNode, uncached: CfgNode, args: Any) -> dict[str, Any]:
    """One row."""
    envs = {"ours": build_env(config), "uncached": build_env(uncached), "plain": build_env(config)}
    play = {
        name: endless_plain_steps(env) if name == "plain" else endless_steps(env)
        for name, env in envs.items()
    }
    for steps in play.values():
        next(steps)
    difference = difference_db(envs["ours"])
    if difference > TOLERANCE_DB:
        raise SystemExit(
            f"error: the two ways differ by {difference:.1f} dB, more than {TOLERANCE_DB:.0f} dB"
        )
    counts = {"ours": args.steps, "uncached": args.steps, "plain": args.plain_steps}
    timed = harness.interleaved(
        {name: lambda name=name: [next(play[name]) for _ in range(counts[name])] for name in play},  # type: ignore[misc]
        rounds=args.rounds,
    )
    rates = {name: counts[name] / time.median for name, time in timed.items()}
    cache = envs["ours"].world.responses.cache
    return {
        "shape": config.AUDITION.ROOM.SHAPE,
        "order": config.AUDITION.ROOM.MAX_ORDER,
        "seconds": config.AUDITION.SECONDS,
        "steps_per_s": rates["ours"],
        "uncached_steps_per_s": rates["uncached"],
        "plain_steps_per_s": rates["plain"],
        "ratio": rates["ours"] / rates["plain"],
        "hit_share": cache.hits / max(cache.hits + cache.misses, 1),
        "difference_db": difference,
    }


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = harness.parser(__doc__)
    options.add_argument("--shapes", nargs="+", default=["shoebox", "polygon", "l_shape"], metavar="SHAPE")
    options.add_argument("--orders", type=int, nargs="+", default=[2, 6, 10], metavar="N")
    options.add_argument("--seconds", type=float, nargs="+", default=[4.0], metavar="S")
    options.add_argument("--sources", type=int, default=2, help="(%(default)s)")
    options.add_argument("--steps", type=int, default=200, help="of ours in a round (%(default)s)")
    options.add_argument("--plain-steps", type=int, default=20, help="in a round (%(default)s)")
    options.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    args = options.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = ["DATA.ROOT", folder, "AUDITION.SOURCES", str(args.sources)]
        write_clips(paths_from_config(get_config(None, root)).corpus_root, 0)
        for shape in args.shapes:
            for order in args.orders:
                for seconds in args.seconds:
                    words = [
                        *root, "AUDITION.ROOM.SHAPE", shape, "AUDITION.ROOM.MAX_ORDER", str(order),
                        "AUDITION.SECONDS", str(seconds),
                    ]  # fmt: skip
                    uncached = get_config(None, [*words, "AUDITION.CACHE_MB", "0"])
                    rows.append(measure(get_config(None, words), uncached, args))
    harness.print_table(rows)
    harness.write_json(args.json, "audition", {k: v for k, v in vars(args).items() if k != "json"}, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
