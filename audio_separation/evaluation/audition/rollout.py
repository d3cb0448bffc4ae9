"""Playing audition episodes side by side, and what is kept of each."""

from __future__ import annotations

from collections import deque
from typing import Any, Mapping, Optional, Sequence

import numpy as np
import torch
from yacs.config import CfgNode

from audio_separation.envs.audition.build import build_envs
from audio_separation.envs.audition.env import AuditionEnv
from audio_separation.evaluation.audition.agents import Actor, Turn
from audio_separation.evaluation.audition.recording import AuditionRecording, Recorder
from audio_separation.evaluation.audition.scores import SeparationKeeper, Way, navigation_scores
from audio_separation.models.audition.agent import AuditionAgent
from audio_separation.training.run_dir import Progress, StopRequest


class Slot:
    """One environment and the episode that it plays."""

    def __init__(self, env: AuditionEnv):
        self.env = env
        self.ended = True

    def begin(self, number: int) -> None:
        """Begin episode ``number`` of the split."""
        self.number, self.ended, self.terminated = number, False, False
        self.observation, info = self.env.reset(options={"episode": self.env.episode(number)})
        self.infos = [info]
        self.actions: list[int] = []
        self.rewards: list[float] = []

    def step(self, action: int) -> None:
        """Act; ``ended`` says whether the episode is over."""
        self.observation, reward, self.terminated, truncated, info = self.env.step(action)
        self.ended = self.terminated or truncated
        self.infos.append(info)
        self.actions.append(action)
        self.rewards.append(float(reward))


def open_slots(config: CfgNode, count: int) -> list[Slot]:
    """``count`` environments that share their caches of sounds and responses."""
    return [Slot(env) for env in build_envs(config, count)]


def play_episodes(
    slots: Sequence[Slot],
    numbers: Sequence[int],
    actor: Actor,
    keeper: SeparationKeeper,
    stop: StopRequest,
    progress: Progress,
) -> Optional[list[dict[str, Any]]]:
    """Play and score episodes ``numbers`` of the environments' split.

    A slot takes the next episode as soon as its own is over. What an episode is and what chance decides in it
    follow from its number, so records do not depend on the number of slots, but for the last digits that matrix
    products of other sizes round differently.

    Returns:
        A record of each episode (:func:`episode_record`) in the order of ``numbers``; None if it was stopped.
    """
    waiting = deque(numbers)
    records: dict[int, dict[str, Any]] = {}
    while True:
        idle = [slot for slot in slots if slot.ended]
        for slot in idle[: len(waiting)]:
            slot.begin(waiting.popleft())
        playing = [slot for slot in slots if not slot.ended]
        if not playing:
            return [records[number] for number in numbers]
        if stop.signal is not None:
            return None
        turn = make_turn(playing, keeper.device)
        keeper.hear(turn)
        for slot, action in zip(playing, actor.act(turn)):
            slot.step(action)
            if slot.ended:
                records[slot.number] = episode_record(slot, keeper)
        progress.line(len(records))


def make_turn(slots: Sequence[Slot], device: torch.device) -> Turn:
    """What the agents of ``slots`` observe now."""

    def batch(key: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([slot.observation[key] for slot in slots])).to(device)

    pose = batch("pose") if "pose" in slots[0].observation else None
    return Turn([slot.number for slot in slots], [slot.env.world for slot in slots], batch("audio"), pose)


def episode_record(slot: Slot, keeper: SeparationKeeper) -> dict[str, Any]:
    """What is kept of an episode that has ended: plain data.

    Lists over observations (``positions_m``, ``headings_deg``, ``distance_m`` to the nearest source that sounds, and
    ``found``, the number of sources that are off) have one entry more than lists over actions. ``scores`` holds
    ``method -> metric -> value``, null where there is none.
    """
    world, infos = slot.env.world, slot.infos
    episode, last = world.episode, infos[-1]
    way = Way(
        success=slot.terminated,
        found=last["found"],
        num_sources=len(episode.sources),
        steps=len(slot.actions),
        max_steps=world.settings.MAX_STEPS,
        path_m=world.path_m,
        shortest_m=world.shortest_path_m(),
        initial_distance_m=infos[0]["distance_m"],
        terms=[info["reward_terms"] for info in infos[1:]],
    )
    return {
        "episode": slot.number,
        "room": {"shape": episode.plan.shape, "corners_m": [list(corner) for corner in episode.plan.corners]},
        "sources_m": episode.sources.round(4).tolist(),
        "clips": list(episode.clips),
        "positions_m": [info["position"].round(4).tolist() for info in infos],
        "headings_deg": [float(info["heading_deg"]) for info in infos],
        "distance_m": [round(float(info["distance_m"]), 4) for info in infos],
        "found": [int(info["found"]) for info in infos],
        "actions": list(slot.actions),
        "rewards": [round(reward, 6) for reward in slot.rewards],
        "success": slot.terminated,
        "shortest_path_m": round(way.shortest_m, 4),
        "scores": keeper.take(slot.number, navigation_scores(way)),
    }


@torch.no_grad()
def record_episode(
    slot: Slot, record: Mapping[str, Any], agent: Optional[AuditionAgent], device: torch.device
) -> AuditionRecording:
    """Play an episode again by the actions of its record, and keep all that a report shows.

    Args:
        agent: in evaluation mode, whose values and separated sources are kept too.
    """
    recorder = Recorder()
    slot.begin(record["episode"])
    values, waves = _thoughts(slot, agent, device)
    recorder.begin(slot.env, slot.number, slot.observation, slot.infos[0], waves)
    for action in record["actions"]:
        slot.step(action)
        chosen_by = values
        values, waves = _thoughts(slot, agent, device)
        recorder.add(action, slot.observation, slot.infos[-1], chosen_by, waves)
    return recorder.finish()


def _thoughts(
    slot: Slot, agent: Optional[AuditionAgent], device: torch.device
) -> tuple[Optional[np.ndarray], Optional[np.ndarray]]:
    """Values of the actions ``[A]`` and separated sources ``[S, L]``; None each without an agent."""
    if agent is None:
        return None, None
    turn = make_turn([slot], device)
    return agent(turn.audio, turn.pose)[0].cpu().numpy(), agent.separator.waves(turn.audio)[0].cpu().numpy()
