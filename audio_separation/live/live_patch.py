"""The patch that plays live: the instrument, what it hears, and OSC to and from us.

To it: ``/ping n``, ``/start``, ``/agent-params id p0 p1 ...``, ``/quit``. From it: ``/pong n``, ``/started Hz``,
``/ack id``, and every hop samples ``/audio n samples`` (what it hears) and ``/played n samples`` (what the instrument
plays), which lie side by side in time; n counts from 0 at ``/start``.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from audio_separation.audio.puredata.instrument import RAMP, RESET, PdInstrument
from audio_separation.audio.puredata.patch_text import PatchText
from audio_separation.audio.puredata.render import BLOCK
from audio_separation.audio.synths import RAMP_SECONDS
from audio_separation.errors import UserError
from audio_separation.live.osc import SEQUENCE

LARGEST_HOP = 8192  # samples; more do not fit in a datagram
STREAM_BYTES = 1 << 20  # read ahead of a sound file that is played in
FLUSH_MS = 200  # to write the end of a recording
ABANDONED_S = 10.0  # without a message from us, then it quits: nothing is left running
INPUT, RECORDING = "input.wav", "both.wav"  # in the folder of the patch


class Wires(NamedTuple):
    """What a live patch is joined to.

    Attributes:
        host: of the ports.
        port_in: that it hears.
        port_out: that it sends to.
        hop: samples of a message.
        file: it hears ``INPUT`` in its folder instead of the sound card.
        record: it records what it hears and what it plays as ``RECORDING``.
    """

    host: str
    port_in: int
    port_out: int
    hop: int
    file: bool
    record: bool


def check_hop(hop: int) -> None:
    """Refuse a hop that sound cannot be sent with.

    Raises:
        UserError: that says which ones it can.
    """
    if hop % BLOCK or not BLOCK <= hop <= LARGEST_HOP:
        raise UserError(
            f"to play through Pure Data, the hop of the analysis must be a multiple of {BLOCK} samples up to "
            f"{LARGEST_HOP}, found {hop}; use a lookup table of such a hop, or SYNTH.BACKEND numpy for a dry run"
        )


def live_patch(instrument: PdInstrument, wires: Wires, folder: Path) -> str:
    """The text of the patch, to be written into ``folder``; the instrument is installed there."""
    patch = PatchText()
    synth, loader = instrument.install(folder, patch)
    load = patch.obj("loadbang")
    if loader is not None:
        patch.chain(load, loader)
    patch.chain(load, patch.msg(f"; {RAMP} 0; pd dsp 1"))
    send = patch.obj("netsend", "-u", "-b")
    patch.chain(load, patch.msg(f"connect {wires.host} {wires.port_out}"), send)
    words = patch.obj("route", "ping", "start", "agent-params", "quit")
    receive = patch.obj("netreceive", "-u", "-b", wires.port_in, wires.host)
    patch.chain(receive, patch.obj("oscparse"), patch.obj("list", "trim"), words)
    patch.chain(words, patch.obj("oscformat", "pong"), send)
    start, started = patch.obj("t", "b", "b"), patch.obj("oscformat", "started")
    patch.connect(words, start, outlet=1)
    patch.chain(start, patch.obj("samplerate~"), started, send)
    level = _gated(patch, synth)
    _parameters(patch, words, synth, level, send, instrument.rate_hz)
    heard = _input(patch, wires, start)
    _streams(patch, wires.hop, start, send, {"audio": heard, "played": level})
    stop = _recording(patch, wires, instrument.rate_hz, start, heard, level)
    quit_later, leave = patch.obj("delay", FLUSH_MS if wires.record else 0), patch.msg("; pd quit")
    end = patch.obj("t", "b", "b")
    patch.connect(words, end, outlet=3)
    patch.chain(end, quit_later, leave)
    if stop is not None:
        patch.connect(end, stop, outlet=1)
    abandoned = patch.obj("delay", ABANDONED_S * 1000)
    patch.chain(load, abandoned)
    patch.chain(receive, patch.obj("t", "b"), abandoned, end)
    if not wires.file:
        speakers = patch.obj("dac~", 1, 2)
        patch.connect(level, speakers)
        patch.connect(level, speakers, inlet=1)
    return patch.text()


def _gated(patch: PatchText, synth: int) -> int:
    """The instrument's sound, silent until its first parameters: a box; its right inlet opens with 1."""
    level = patch.obj("*~")
    patch.chain(synth, level)
    return level


def _parameters(patch: PatchText, words: int, synth: int, level: int, send: int, rate_hz: int) -> None:
    """Parameters with numbers: none older than the last are played, all are acknowledged."""
    split, params = patch.obj("list", "split", 1), patch.obj("list")
    patch.connect(words, split, outlet=2)
    patch.connect(split, params, outlet=1, inlet=1)
    number = patch.obj("t", "f", "f")
    patch.chain(split, number)
    since, newer = patch.obj("-", -1), patch.obj("<", SEQUENCE // 2)
    is_new, play = patch.obj("sel", 1), patch.obj("t", "b", "b", "b", "b")
    kept = patch.obj("f")
    patch.connect(number, since, outlet=1)
    patch.connect(number, kept, outlet=1, inlet=1)
    patch.chain(since, patch.obj("mod", SEQUENCE), newer, is_new, play)
    patch.connect(play, kept, outlet=3)
    patch.connect(kept, since, inlet=1)
    patch.connect(play, params, outlet=2)
    patch.chain(params, synth)
    # the first parameters are there at once, and the instrument begins at phase 0; later ones are glided to
    first = patch.obj("f", 1)
    is_first, spent = patch.obj("sel", 1), patch.msg("0")
    ramp_ms = round(RAMP_SECONDS * rate_hz) / rate_hz * 1000
    patch.connect(play, first, outlet=1)
    patch.chain(first, is_first, spent)
    patch.connect(spent, first, inlet=1)
    patch.chain(is_first, patch.msg(f"; {RESET} bang; {RAMP} {ramp_ms:.9f}"))
    gate = patch.obj("line~")
    patch.chain(is_first, patch.msg(f"1 {RAMP_SECONDS * 1000}"), gate)
    patch.connect(gate, level, inlet=1)
    patch.chain(number, patch.obj("oscformat", "ack"), send)


def _input(patch: PatchText, wires: Wires, start: int) -> int:
    """What is heard: a box."""
    if not wires.file:
        return patch.obj("adc~", 1)
    player, once = patch.obj("readsf~", 1, STREAM_BYTES), _once(patch, start)
    patch.chain(patch.obj("loadbang"), patch.msg(f"open {INPUT}"), player)
    patch.chain(once, patch.msg("1"), player)
    return player


def _once(patch: PatchText, start: int) -> int:
    """A box that bangs at the first ``/start`` alone, which may come again when its answer was lost."""
    gate, once, shut = patch.obj("spigot", 1), patch.obj("t", "b", "b"), patch.msg("0")
    patch.connect(start, gate, outlet=1)
    patch.chain(gate, once)
    patch.connect(once, shut, outlet=1)
    patch.connect(shut, gate, inlet=1)
    return once


def _streams(patch: PatchText, hop: int, start: int, send: int, sounds: dict[str, int]) -> None:
    """Send the sounds, hop by hop: at the beginning of a block their arrays hold exactly the hop before."""
    block, add, zero = patch.obj("f", -1), patch.obj("+", 1), patch.msg("0")
    open_, running = patch.msg("1"), patch.obj("spigot")
    patch.chain(patch.obj("bang~"), running, block)
    patch.chain(block, add)
    patch.connect(add, block, inlet=1)
    once = _once(patch, start)
    patch.chain(once, open_)
    patch.connect(open_, running, inlet=1)
    patch.chain(once, zero)
    patch.connect(zero, block, inlet=1)
    border, number, count = patch.obj("sel", 0), patch.obj("f", -1), patch.obj("+", 1)
    wrapped = patch.obj("mod", SEQUENCE)
    patch.chain(block, patch.obj("mod", hop // BLOCK), border, number)
    patch.chain(number, count, wrapped)
    patch.connect(wrapped, number, inlet=1)
    order = patch.obj("t", "b", "f", "f")
    patch.chain(number, order)
    for outlet, (name, sound) in zip((1, 2), sounds.items()):
        array, tape = f"hop-{name}", patch.obj("tabwrite~", f"hop-{name}")
        patch.obj("array", "define", array, hop)
        patch.chain(sound, tape)
        begun, both = patch.obj("moses", 0), patch.obj("t", "b", "f")
        get, numbered = patch.obj("array", "get", array), patch.obj("list", "prepend")
        patch.connect(order, begun, outlet=outlet)
        patch.connect(begun, both, outlet=1)
        patch.connect(both, numbered, outlet=1, inlet=1)
        patch.chain(both, get, numbered, patch.obj("oscformat", name), send)
        patch.chain(order, tape)


def _recording(
    patch: PatchText, wires: Wires, rate_hz: int, start: int, heard: int, level: int
) -> Optional[int]:
    """Record from ``/start`` on; returns the box that ends it, None where nothing is recorded."""
    if not wires.record:
        return None
    file, begin, stop = patch.obj("writesf~", 2), patch.msg("start"), patch.msg("stop")
    patch.connect(heard, file)
    patch.connect(level, file, inlet=1)
    patch.chain(patch.obj("loadbang"), patch.msg(f"open -wave -bytes 4 -rate {rate_hz} {RECORDING}"), file)
    patch.chain(_once(patch, start), begin, file)
    patch.chain(stop, file)
    return stop
