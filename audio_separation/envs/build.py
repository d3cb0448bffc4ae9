"""From a config to episodes and a simulator: the one place that knows where the parts come from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterable, Mapping, Optional, Sequence

import torch
from yacs.config import CfgNode

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.render import BinauralRenderer
from audio_separation.audio.rir_store import open_rir_store
from audio_separation.envs.simulator import BatchSimulator, Scene
from audio_separation.errors import UserError
from audio_separation.scenes.episodes import Episode, load_episodes, validate_episodes
from audio_separation.scenes.graph import load_graph
from audio_separation.scenes.layout import DatasetPaths, paths_from_config
from audio_separation.scenes.observations import load_observations
from audio_separation.scenes.splits import check_scene_splits, select_scenes


def check_task(config: CfgNode) -> None:
    """Refuse a config whose task or audio settings this version does not have."""
    if config.TASK.NAME != "near_target":
        raise UserError(
            f"TASK.NAME is {config.TASK.NAME!r}; expected near_target here (TRAINER dqn and separator learn audition)"
        )
    audio = config.AUDIO
    if (audio.RATE, audio.N_FFT, audio.HOP) != (16000, 1023, 512):
        raise UserError(
            f"AUDIO.RATE, N_FFT, HOP are {audio.RATE}, {audio.N_FFT}, {audio.HOP}; the networks and the data "
            "formats are defined for 16000, 1023, 512"
        )


def open_clips(config: CfgNode, split: Optional[str] = None) -> ClipLibrary:
    """Open the corpus that the config names, in its split ``DATA.SOUNDS`` unless ``split`` says otherwise."""
    return ClipLibrary(paths_from_config(config).corpus_root, split or config.DATA.SOUNDS)


def build_renderer(config: CfgNode, clips: ClipLibrary, device: torch.device) -> BinauralRenderer:
    """Open the RIR store of the dataset and put the renderer on ``device``."""
    paths = paths_from_config(config)
    audio, rate_hz = config.AUDIO, paths.facts.rir_rate_hz
    rirs = open_rir_store(
        paths.rirs_root,
        kind=audio.RIR_STORE,
        rate=audio.RATE,
        on_missing=audio.MISSING_RIR,
        convert=() if rate_hz is None else (rate_hz,),
        prefetch_threads=audio.PREFETCH,
    )
    return BinauralRenderer(
        rirs, clips, mode=audio.MODE, device=device, cache_mb=audio.CACHE_MB, mono_rms=audio.TARGET_MONO_RMS
    )


def load_scenes(paths: DatasetPaths, names: Iterable[str], images: bool) -> dict[str, Scene]:
    """Read graph and, if asked for, the cached RGB-D of each scene."""
    scenes = {}
    for name in sorted(set(names)):
        paths.require(paths.metadata(name), f"metadata of scene {name}")
        graph = load_graph(paths.metadata(name))
        scenes[name] = Scene(graph, load_observations(paths.observations(name), graph) if images else None)
    return scenes


def use_scenes(
    config: CfgNode, split: str, found: Iterable[str], where: Path, responses: bool = True, views: bool = True
) -> set[str]:
    """The scenes to use out of those that the files ``where`` of ``split`` name, by ``DATA.SCENES``.

    Says which are left out, once however many processes there are. ``responses`` and ``views`` tell what is
    needed on disk besides points and graph.

    Raises:
        UserError: for a scene that belongs to another split, or one without data on disk.
    """
    paths, scenes = paths_from_config(config), sorted(set(found))
    check_scene_splits(paths, split, scenes, where)
    chosen = select_scenes(paths, scenes, config.DATA.SCENES, responses, views)
    if len(chosen) < len(scenes) and config.VERBOSE and os.environ.get("RANK", "0") == "0":
        left_out = ", ".join(sorted(set(scenes) - set(chosen)))
        print(f"{where}: {len(chosen)} of {len(scenes)} scenes are on disk; left out: {left_out}", flush=True)
    return set(chosen)


def load_task_episodes(config: CfgNode, images: bool = True) -> list[Episode]:
    """Read the episodes of ``DATA.SPLIT`` in the scenes that ``DATA.SCENES`` admits, at most ``DATA.MAX_EPISODES``.

    Without ``images`` their scenes need no RGB-D on disk; scripted agents never look at any.

    Raises:
        UserError: for missing or broken files, an episode in a scene of another split, or one without data.
    """
    paths = paths_from_config(config)
    live = config.SIMULATOR.TYPE == "live"
    episodes = load_episodes(paths.active_root, config.DATA.SPLIT, continuous=live)
    folder, sees = paths.active(config.DATA.SPLIT), config.EVAL.AGENT == "policy"
    views = images and not live and sees and config.POLICY.VISION != "none"
    chosen = use_scenes(config, config.DATA.SPLIT, (e.scene for e in episodes), folder, not live, views)
    episodes = [episode for episode in episodes if episode.scene in chosen]
    if config.DATA.MAX_EPISODES:
        # spread over the file, so that every scene stays represented
        count = min(config.DATA.MAX_EPISODES, len(episodes))
        episodes = [episodes[i * len(episodes) // count] for i in range(count)]
    return episodes


def _check_sources(episodes: Sequence[Episode], folder: Path) -> None:
    counts = {episode.num_sources: episode for episode in episodes}
    if len(counts) > 1:
        few, many = counts[min(counts)], counts[max(counts)]
        raise UserError(
            f"the episodes in {folder} must have the same number of sources, as they are rendered in batches: found "
            f"{few.num_sources} in episode {few.episode_id} of {few.scene} and {many.num_sources} in episode "
            f"{many.episode_id} of {many.scene}; keep them in two versions of the dataset"
        )


def build_simulator(
    config: CfgNode,
    episodes: Sequence[Episode],
    num_envs: int,
    device: torch.device,
    target_bin: bool,
    images: bool = True,
) -> BatchSimulator:
    """Make the simulator that can play ``episodes``; every one is checked before the first step.

    ``target_bin`` is that of :class:`BatchSimulator`; without ``images`` no RGB-D is read.

    Raises:
        UserError: for missing or broken data, an episode off the graph or with a sound not in the corpus.
    """
    check_task(config)
    paths = paths_from_config(config)
    clips = open_clips(config)
    names, live = {episode.scene for episode in episodes}, config.SIMULATOR.TYPE == "live"
    if live:  # only then are the ray caster and the generator of homes needed
        from audio_separation.envs.live.build import build_live_simulator, load_live_scenes

        live_scenes = load_live_scenes(config, names, images)
    scenes: Mapping[str, Scene] = live_scenes if live else load_scenes(paths, names, images)
    folder = paths.active(config.DATA.SPLIT)
    try:
        validate_episodes(episodes, clips, {name: scene.graph for name, scene in scenes.items()}, live)
    except UserError as error:
        raise UserError(f"{folder}: {error} (corpus {clips.folder})") from None
    _check_sources(episodes, folder)
    if live:
        return build_live_simulator(live_scenes, clips, config, num_envs, device, target_bin)
    return BatchSimulator(
        scenes,
        clips,
        build_renderer(config, clips, device),
        num_envs,
        episode_steps=config.TASK.EPISODE_STEPS,
        target_bin=target_bin,
        forward_rule=config.TASK.FORWARD_RULE,
    )
