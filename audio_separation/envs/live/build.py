"""From a config to live scenes and their simulator."""

from __future__ import annotations

from typing import Iterable

import torch
from yacs.config import CfgNode

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.render import BinauralRenderer
from audio_separation.envs.live.rirs import LiveRirs
from audio_separation.envs.live.scenes import HomeScene, LiveScene, MeshScene
from audio_separation.envs.live.simulator import LiveSimulator, check_fade
from audio_separation.errors import UserError
from audio_separation.scenes.acoustics import load_engine
from audio_separation.scenes.generate.recorded import home_record, read_record
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths, paths_from_config


def build_live_simulator(
    scenes: dict[str, LiveScene],
    clips: ClipLibrary,
    config: CfgNode,
    num_envs: int,
    device: torch.device,
    target_bin: bool,
) -> LiveSimulator:
    """Make the simulator over these scenes.

    Raises:
        UserError: settings that live rendering does not have, or something that it needs is not installed.
    """
    audio = config.AUDIO
    if audio.MODE != "causal":
        raise UserError(
            f"AUDIO.MODE is {audio.MODE!r}, but SIMULATOR.TYPE live fades from pose to pose, for which the sound "
            "must carry on from second to second; set AUDIO.MODE causal"
        )
    check_fade(config.LIVE)
    load_engine()
    for scene in scenes.values():
        scene.check()
    renderer = BinauralRenderer(
        LiveRirs(scenes, max(64, audio.CACHE_MB / 4)),
        clips,
        device=device,
        cache_mb=audio.CACHE_MB,
        mono_rms=audio.TARGET_MONO_RMS,
    )
    return LiveSimulator(
        scenes, clips, renderer, num_envs, config.LIVE, config.TASK.EPISODE_STEPS, target_bin
    )


def load_live_scenes(config: CfgNode, names: Iterable[str], images: bool) -> dict[str, LiveScene]:
    """The scenes of these names, to be rendered; with ``images`` also to be looked at.

    Raises:
        UserError: metadata or the mesh is missing, or a home.json is damaged.
    """
    paths = paths_from_config(config)
    return {name: _load(paths, name, config.LIVE, images) for name in sorted(set(names))}


def _load(paths: DatasetPaths, name: str, live: CfgNode, images: bool) -> LiveScene:
    paths.require(paths.metadata(name), f"metadata of scene {name}")
    graph, mesh = load_graph(paths.metadata(name)), paths.mesh(name)
    common = (graph, None, name, mesh, paths.facts.mic_height_m, live, images)
    record = home_record(paths, name)
    if record.is_file():
        read_record(record)  # a damaged one is told before anything else is loaded
        return HomeScene(*common, record)
    paths.require(mesh, f"mesh of scene {name}")
    return MeshScene(*common)
