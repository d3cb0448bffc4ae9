"""Episodes of the audition tasks: a room, the sources in it, what they play, and where the agent begins."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Optional

import numpy as np
from yacs.config import CfgNode

from audio_separation.envs.audition.placement import place
from audio_separation.envs.audition.rooms import RoomPlan, draw_room
from audio_separation.envs.audition.sounds import Sounds, open_sounds
from audio_separation.errors import UserError

ROOMS = 50  # drawn before an episode is given up


@dataclass(frozen=True, eq=False)
class AuditionEpisode:
    """All that happens before the first action.

    Attributes:
        plan: the room.
        sources: ``[S, 2]`` metres.
        start: ``[2]``, where the agent begins.
        heading_deg: of the agent, anticlockwise from +x.
        clips: a clip for each source.
        starts: sample of each clip's loop that sounds at the first sample of the episode.
    """

    plan: RoomPlan
    sources: np.ndarray
    start: np.ndarray
    heading_deg: float
    clips: tuple[str, ...]
    starts: tuple[int, ...]


def draw_episode(settings: CfgNode, sounds: Sounds, rng: np.random.Generator) -> AuditionEpisode:
    """Draw an episode as the config section ``AUDITION`` asks; a room that is too small is drawn again.

    Raises:
        UserError: in none of ``ROOMS`` rooms there was place for the sources and the agent.
    """
    clips = sounds.draw(settings.SOURCES, rng)
    starts = tuple(int(rng.integers(len(sounds.loop(clip)))) for clip in clips)
    heading_deg = settings.TURN_DEG * int(rng.integers(round(360 / settings.TURN_DEG)))
    for _ in range(ROOMS):
        plan = draw_room(settings, rng)
        found = place(plan, settings, rng)
        if found is not None:
            sources, start = found
            return AuditionEpisode(plan, np.array(sources), np.array(start), heading_deg, clips, starts)
    raise UserError(
        f"none of {ROOMS} rooms ({settings.ROOM.SHAPE}, AUDITION.ROOM.WIDTH_M {list(settings.ROOM.WIDTH_M)}) had place "
        f"for AUDITION.SOURCES {settings.SOURCES} and the agent: widen AUDITION.ROOM.WIDTH_M, or lower "
        "AUDITION.ROOM.WALL_M, CENTRE_STEPS, APART_STEPS, STEP_M, START_RADII, RADIUS_M or SOURCES"
    )


def episode_of(config: CfgNode, split: str, number: int, sounds: Optional[Sounds] = None) -> AuditionEpisode:
    """Return episode ``number`` of ``split``: it follows from SEED, the section ``AUDITION`` and DATA.SOUNDS alone.

    With AUDITION.FIXED_EPISODE all numbers of all splits are one and the same.

    Args:
        sounds: those of :func:`open_sounds`, where they are open already.
    """
    fixed = config.AUDITION.FIXED_EPISODE
    key = [config.SEED] if fixed else [config.SEED, zlib.crc32(split.encode()), number]
    sounds = sounds or open_sounds(config)
    return draw_episode(config.AUDITION, sounds, np.random.default_rng(key))
