"""Who moves: the trained policy, or scripted agents that it is placed between.

An agent is asked for the next action of every environment that is still playing; it may look at their worlds. What
chance decides in an episode follows from SEED and the episode's number, whatever is played beside it.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol, Sequence

import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.envs.audition.world import AuditionWorld
from audio_separation.errors import UserError
from audio_separation.evaluation.audition.planner import motion_of, plan_actions
from audio_separation.models.audition.agent import AuditionAgent
from audio_separation.rl.dqn import episode_draws, stray

AGENTS = ("policy", "random", "oracle")


class Turn(NamedTuple):
    """What the agents of K environments know when they are to act.

    Attributes:
        numbers: K episodes.
        worlds: K worlds.
        audio: ``[K, C, L]``.
        pose: ``[K, 4]``; None without AUDITION.POSE.
    """

    numbers: Sequence[int]
    worlds: Sequence[AuditionWorld]
    audio: Tensor
    pose: Optional[Tensor]


class Actor(Protocol):
    """Chooses actions."""

    def act(self, turn: Turn) -> list[int]:
        """An action for each environment of ``turn``."""
        ...


class RandomActor:
    """Every action is as likely as any other."""

    def __init__(self, config: CfgNode, num_actions: int):
        self._seed, self._num_actions = config.SEED, num_actions
        self._steps = config.AUDITION.MAX_STEPS

    def act(self, turn: Turn) -> list[int]:
        """See :class:`Actor`."""
        draws = [
            episode_draws(self._seed, n, self._steps)[w.step_count, 0]
            for n, w in zip(turn.numbers, turn.worlds)
        ]
        return [int(draw * self._num_actions) for draw in draws]


class OracleActor:
    """Knows the room: follows a near-minimal plan to all sources (see :mod:`planner <.planner>`).

    The plan is made at the start of an episode and holds, as it is made by the world's own rules; the episode is a
    success wherever it takes no more than ``AUDITION.MAX_STEPS``.
    """

    def __init__(self) -> None:
        self._plans: dict[int, list[int]] = {}

    def act(self, turn: Turn) -> list[int]:
        """See :class:`Actor`.

        Raises:
            UserError: where no plan was found.
        """
        return [self._next(number, world) for number, world in zip(turn.numbers, turn.worlds)]

    def _next(self, number: int, world: AuditionWorld) -> int:
        if world.step_count == 0 or not self._plans[number]:
            self._plans[number] = plan_episode(world, number)
        return self._plans[number].pop(0)


def plan_episode(world: AuditionWorld, number: int) -> list[int]:
    """A near-minimal sequence of actions that turns off every source that still sounds.

    Raises:
        UserError: where none was found.
    """
    settings = world.settings
    motion = motion_of(world.actions, settings.STEP_M, settings.TURN_DEG, world.heading_deg)
    sources = world.episode.sources[world.active]
    plan = plan_actions(world.position, sources, settings.RADIUS_M, motion, world.paths.area.clear)
    if plan is None:
        raise UserError(
            f"the oracle finds no way to the sources of episode {number} in steps of AUDITION.STEP_M "
            f"{settings.STEP_M} and turns of TURN_DEG {settings.TURN_DEG}; raise AUDITION.RADIUS_M "
            f"({settings.RADIUS_M}) or lower STEP_M"
        )
    return plan


class PolicyActor:
    """The action of the highest value; with ``EVAL.DETERMINISTIC False`` one in ``DQN.EPSILON_END`` is drawn."""

    def __init__(self, config: CfgNode, agent: AuditionAgent):
        self._agent = agent.eval()
        self._epsilon = 0.0 if config.EVAL.DETERMINISTIC else config.DQN.EPSILON_END
        self._seed, self._steps = config.SEED, config.AUDITION.MAX_STEPS

    @torch.no_grad()
    def act(self, turn: Turn) -> list[int]:
        """See :class:`Actor`."""
        values = self._agent(turn.audio, turn.pose)  # [K, A]
        actions = values.argmax(-1).tolist()
        draws = [
            episode_draws(self._seed, number, self._steps)[world.step_count]
            for number, world in zip(turn.numbers, turn.worlds)
        ]
        return [stray(a, draw, self._epsilon, values.shape[-1]) for a, draw in zip(actions, draws)]
