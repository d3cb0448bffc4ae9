"""``python main.py --run-type live``: a trained agent plays to the sound card, or to a sound file."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Optional

import numpy as np
from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.live.dry_run import dry_run, param_names, pd_instrument, read_input
from audio_separation.live.files import check_free, write_session
from audio_separation.live.pd_session import PdSession, Ports, sound_card
from audio_separation.live.server import LiveServer, Player, Resending, warm_up
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import StopRequest

DEVICE = "device"


def live(config: CfgNode, model_dir: str, dry_run_wav: str, world: World, stop: StopRequest) -> int:
    """Play with the agent in ``model_dir``; what is written goes to its folder ``live``.

    Raises:
        UserError: for a checkpoint that does not fit, and as :func:`play_live`.
    """
    # it brings the networks
    from audio_separation.live.player import load_player

    if world.size > 1:
        raise UserError(
            f"--run-type live plays in one process, found {world.size}; start it without torchrun"
        )
    name = Path(dry_run_wav).stem if dry_run_wav else time.strftime("%Y-%m-%d_%H-%M-%S")
    out_folder = Path(model_dir) / "live" / name
    if dry_run_wav:
        check_free(out_folder)  # before the networks are loaded, which takes seconds
    config, player = load_player(config, Path(model_dir), world.device)
    return play_live(config, player, out_folder, dry_run_wav or None, stop)


def play_live(
    config: Any, player: Player, out_folder: Path, dry_run_wav: Optional[str], stop: StopRequest
) -> int:
    """Play, and return the exit status: 0, or that of the signal which ended it.

    Args:
        config: its keys ``OSC.*``, ``SYNTH.BACKEND`` and ``SEED``.
        player: what plays.
        out_folder: of the files; written to by dry runs, and where ``OSC.RECORD`` is set.
        dry_run_wav: sound file to play to; None: ``OSC.INPUT``, with the sound card.
        stop: asked to end.

    Raises:
        UserError: as :func:`dry_run`; or no sound card where one is needed.
    """
    osc, rng = config.OSC, np.random.default_rng(config.SEED)
    ports = Ports(osc.HOST, osc.PORT_SEND, osc.PORT_RECEIVE, osc.TIMEOUT_S)
    resending = Resending(osc.RESEND_S, osc.RESENDS, osc.TIMEOUT_S)
    if dry_run_wav is not None:
        statistics = dry_run(
            Path(dry_run_wav), out_folder, player, rng, config.SYNTH.BACKEND, ports=ports, resending=resending,
            seconds=osc.SECONDS, stop=lambda: stop.signal is not None,
        )  # fmt: skip
        _tell(statistics, f"wrote {out_folder}")
    else:
        statistics = _with_sound_card(osc, player, rng, ports, resending, out_folder, stop)
    return stop.exit_code if stop.signal is not None else 0


def _with_sound_card(
    osc: Any,
    player: Player,
    rng: np.random.Generator,
    ports: Ports,
    resending: Resending,
    out_folder: Path,
    stop: StopRequest,
) -> dict[str, Any]:
    listens = osc.INPUT == DEVICE
    sound = None if listens else read_input(Path(osc.INPUT), player.rate_hz)
    if osc.RECORD:
        check_free(out_folder)
    card = sound_card("output")
    if listens and not sound_card("input"):
        raise UserError(
            "OSC.INPUT is device, and Pure Data finds no sound card to listen with; connect one, name a sound file in "
            "OSC.INPUT, or play to one with --dry-run"
        )
    if not card:
        print("Pure Data finds no sound card to play with: nothing will be heard", flush=True)
    seconds = osc.SECONDS or (0.0 if sound is None else len(sound) / player.rate_hz)
    warm_up(player)
    with PdSession(
        pd_instrument(player), player.hop, ports, sound, osc.RECORD, card=card or listens
    ) as session:
        server = LiveServer(player, session.link, rng, resending, session.check)
        session.begin()
        print(f"playing {player.synth_name}; Ctrl-C ends it", flush=True)
        statistics = server.run(seconds, lambda: stop.signal is not None)
        both = session.finish()
    if both is not None:
        write_session(out_folder, both, player.rate_hz, server.steps, param_names(player), statistics)
    _tell(statistics, f"wrote {out_folder}" if both is not None else "recorded nothing (OSC.RECORD is False)")
    return statistics


def _tell(statistics: dict[str, Any], wrote: str) -> None:
    print(json.dumps(statistics))
    print(wrote, flush=True)
