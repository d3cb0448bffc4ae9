"""What the keys of the section AUDITION may be, where that follows from several of them or from a library."""

from __future__ import annotations

import pyroomacoustics as pra
from yacs.config import CfgNode

from audio_separation.errors import UserError


def check_audition(config: CfgNode) -> None:
    """Refuse values of the section ``AUDITION`` that no episode can be played with.

    Raises:
        UserError: that names the keys.
    """
    settings = config.AUDITION
    if settings.RADIUS_M < settings.STEP_M / 2:
        raise UserError(
            f"config key AUDITION.RADIUS_M is {settings.RADIUS_M}, expected at least half of AUDITION.STEP_M "
            f"({settings.STEP_M}): a step could pass over a source"
        )
    turns = 360 / settings.TURN_DEG
    if abs(turns - round(turns)) > 1e-9:
        raise UserError(f"config key AUDITION.TURN_DEG must divide 360, found {settings.TURN_DEG}")
    for key, value in (("RADIUS_M", settings.RADIUS_M), ("ROOM.WALL_M", settings.ROOM.WALL_M)):
        if value <= settings.EAR_DISTANCE_M / 2:
            raise UserError(
                f"config key AUDITION.{key} is {value}, expected more than half of AUDITION.EAR_DISTANCE_M "
                f"({settings.EAR_DISTANCE_M}): an ear could lie in a source or a wall"
            )
    _check_room(settings.ROOM)


def _check_room(room: CfgNode) -> None:
    low, high = room.POLYGON_SIDES
    if type(low) is not int or type(high) is not int or low < 3:
        raise UserError(
            f"config key AUDITION.ROOM.POLYGON_SIDES must be a range of whole numbers from 3, found {[low, high]}"
        )
    if room.WIDTH_M[0] <= 0:
        raise UserError(f"config key AUDITION.ROOM.WIDTH_M must begin above 0, found {list(room.WIDTH_M)}")
    if room.ABSORPTION[1] > 1:
        raise UserError(
            f"config key AUDITION.ROOM.ABSORPTION must be a range within 0 to 1, found {list(room.ABSORPTION)}"
        )
    if room.MATERIAL:
        try:
            pra.Material(room.MATERIAL)
        except KeyError:
            raise UserError(
                f"config key AUDITION.ROOM.MATERIAL is {room.MATERIAL!r}, which pyroomacoustics' database of "
                "absorption does not have: use one of its names, such as hard_surface, or leave it empty"
            ) from None
