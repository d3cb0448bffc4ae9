"""Playing to a sound file, without a sound card.

With ``numpy`` faster than real time and without Pure Data: period by period, the agent hears the file and itself, and
chooses the parameters of the next period. With ``pd`` Pure Data plays the file in, in real time, and records.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from audio_separation.audio.descriptors import describe
from audio_separation.audio.puredata.instrument import PdInstrument
from audio_separation.audio.soundfiles import read_mono, resample
from audio_separation.audio.synths import PARAMS, check_params
from audio_separation.errors import UserError
from audio_separation.live.files import check_free, write_session
from audio_separation.live.pd_session import PdSession, Ports
from audio_separation.live.server import LiveServer, LiveStep, Player, Resending, distance_of, warm_up
from audio_separation.live.streaming import StreamingSynth

LONGEST_S = 3600.0  # of a file: its samples and those played are held in memory


def read_input(path: Path, rate_hz: int) -> np.ndarray:
    """A sound file as mono at ``rate_hz``, float32 ``[L]``.

    Raises:
        UserError: for a file that cannot be read, holds nothing, or is too long.
    """
    if not path.is_file():
        raise UserError(f"the sound file {path} does not exist; correct its name")
    wave, found_hz = read_mono(path)
    if not len(wave):
        raise UserError(f"{path}: holds no sound; name another file")
    if len(wave) > LONGEST_S * found_hz:
        raise UserError(
            f"{path}: lasts {len(wave) / found_hz:.0f} s, and at most {LONGEST_S:.0f} s are played; cut it"
        )
    return resample(wave, found_hz, rate_hz).astype(np.float32)


def dry_run(
    in_wav: Path,
    out_folder: Path,
    player: Player,
    rng: np.random.Generator,
    backend: str = "numpy",
    overwrite: bool = False,
    ports: Optional[Ports] = None,
    resending: Optional[Resending] = None,
    seconds: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Play to a file and write input.wav, played.wav, both.wav, steps.csv and live.json into ``out_folder``.

    Args:
        in_wav: the sound that the agent hears.
        player: what plays.
        rng: of its first parameters.
        backend: ``numpy`` or ``pd``.
        overwrite: replace the files of an earlier session.
        ports: of Pure Data.
        resending: of messages to it.
        seconds: to play; 0: all of the file.
        stop: ends it early; what was played until then is written.

    Returns:
        the statistics that live.json holds.

    Raises:
        UserError: files that cannot be read or would be overwritten, a patch without Pure Data, or as
            :class:`PdSession` and :class:`LiveServer`.
    """
    check_free(out_folder, overwrite)
    sound = read_input(in_wav, player.rate_hz)
    if seconds:
        sound = sound[: max(1, round(seconds * player.rate_hz))]
    if backend == "numpy":
        both, steps, statistics = _offline(sound, player, rng, stop)
    else:
        both, steps, statistics = play_to_file(sound, player, rng, ports, resending, stop)
    statistics = {"backend": backend, "input": in_wav.name, **statistics}
    write_session(out_folder, both, player.rate_hz, steps, param_names(player), statistics)
    return statistics


def param_names(player: Player) -> tuple[str, ...]:
    """Of a synthesizer of ours its own, else p0, p1 ..."""
    if player.patch is None and player.synth_name in PARAMS:
        return PARAMS[player.synth_name]
    return tuple(f"p{k}" for k in range(player.num_params))


def _offline(
    sound: np.ndarray, player: Player, rng: np.random.Generator, stop: Callable[[], bool]
) -> tuple[np.ndarray, list[LiveStep], dict[str, Any]]:
    if player.patch is not None:
        raise UserError(
            f"the patch {player.patch} is played by Pure Data alone; set SYNTH.BACKEND pd for the dry run"
        )
    synth = StreamingSynth(player.synth_name, player.rate_hz, player.source)
    period = player.frames_per_step * player.hop
    history = player.window - player.hop
    count = -(-len(sound) // period)
    heard = np.concatenate([np.zeros(history), sound, np.zeros(count * period - len(sound))])
    played = np.zeros(len(heard))
    params = check_params(player.reset(rng), player.num_params, player.synth_name)
    steps: list[LiveStep] = []
    done = 0
    for number in range(count):
        begin = history + number * period
        played[begin : begin + period] = synth.play(params, period)
        done = min(len(sound), (number + 1) * period)
        if stop() or number == count - 1:
            break
        frames = slice(begin - history, begin + period)
        agent, target = (
            describe(wave[frames], player.rate_hz, player.window, player.hop).mean(0)
            for wave in (played, heard)
        )
        distance = distance_of(player, agent, target)
        params = check_params(player.step(agent, target, params), player.num_params, player.synth_name)
        steps.append(LiveStep((number + 1) * period / player.rate_hz, params, distance))
    both = np.stack([heard, played], 1)[history : history + done].astype(np.float32)
    statistics = {
        "seconds": done / player.rate_hz, "period_s": period / player.rate_hz, "steps": len(steps), **_distances(steps),
    }  # fmt: skip
    return both, steps, statistics


def play_to_file(
    sound: np.ndarray,
    player: Player,
    rng: np.random.Generator,
    ports: Optional[Ports] = None,
    resending: Optional[Resending] = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[np.ndarray, list[LiveStep], dict[str, Any]]:
    """Pure Data plays ``sound`` in and records: both sounds ``[L, 2]``, the steps and the statistics."""
    instrument = pd_instrument(player)
    ports = ports if ports is not None else Ports()
    seconds = len(sound) / player.rate_hz
    warm_up(player)
    with PdSession(instrument, player.hop, ports, sound, record=True) as session:
        server = LiveServer(player, session.link, rng, resending, session.check)
        session.begin()
        # somewhat longer: Pure Data's beginning and ours are not the same moment
        statistics = server.run(seconds + server.period_s, stop)
        both = session.finish()
    if both is None:
        raise UserError(f"Pure Data has recorded nothing of {player.synth_name}; look for a full disk")
    statistics["seconds"] = min(seconds, len(both) / player.rate_hz)
    return both[: len(sound)], server.steps, {**statistics, **_distances(server.steps)}


def pd_instrument(player: Player) -> PdInstrument:
    """The player's synthesizer in Pure Data."""
    return PdInstrument(player.synth_name, player.num_params, player.patch, player.rate_hz, player.source)


def _distances(steps: list[LiveStep]) -> dict[str, Any]:
    found = [step.distance for step in steps if step.distance is not None]
    return {"distance_mean": float(np.mean(found)) if found else None}
