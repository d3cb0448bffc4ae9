#!/usr/bin/env python3
"""Pure Data as a back end: rows rendered a second, and the time that live parameters take.

    python benchmarks/live_synth.py [--synths sine fm3] [--rows 200] [--seconds 0.5] [--live-s 3] [--json OUT]

`pd_rows_per_s` renders the rows in one process of Pure Data, its start included, `numpy_rows_per_s` by the closed form;
`ratio` is Pure Data over numpy, from rounds taken in turn. Before, both sound the same: `difference` is the median over
rows of their largest difference. Then parameters go to a headless Pure Data that plays and sends both sounds at once:
`round_trip_ms` is from sending to the acknowledgement, `messages_lost` of acknowledgements and of blocks of sound.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import harness  # first of ours: it puts the package on the path
import numpy as np

from audio_separation.audio.puredata.instrument import PdInstrument
from audio_separation.audio.puredata.render import PdSynth
from audio_separation.audio.synths import PARAMS, RATE, make_synth
from audio_separation.live.blocks import BlockStream
from audio_separation.live.pd_session import PdSession, Ports

TOLERANCE = 0.1  # FM drifts: the table of Pure Data's cosine has a mean
HOP, PERIOD_S = 512, 4 * 512 / 44100


def measure_rows(name: str, args: Any) -> dict[str, Any]:
    """Rows a second of both back ends."""
    closed, pd = make_synth(name), PdSynth(name, len(PARAMS[name]))
    rows = np.random.default_rng(0).random((args.rows, pd.num_params))
    expected = np.stack([closed.render(row, args.seconds) for row in rows])
    difference = float(np.median(np.abs(pd.render_rows(rows, args.seconds) - expected).max(1)))
    if difference > TOLERANCE:
        raise SystemExit(f"error: {name} differs by {difference:.3f}, more than {TOLERANCE}")
    timed = harness.interleaved(
        {
            "pd": lambda: pd.render_rows(rows, args.seconds),
            "numpy": lambda: [closed.render(row, args.seconds) for row in rows],
        },
        rounds=args.rounds,
    )
    rates = {name: args.rows / time_.median for name, time_ in timed.items()}
    return {
        "synth": name,
        "seconds": args.seconds,
        "rows": args.rows,
        "pd_rows_per_s": rates["pd"],
        "numpy_rows_per_s": rates["numpy"],
        "ratio": rates["pd"] / rates["numpy"],
        "difference": difference,
    }


def measure_live(name: str, args: Any) -> dict[str, Any]:
    """The round trip of parameters while sound is played and sent."""
    count = len(PARAMS[name])
    streams = {"/audio": BlockStream(RATE, 1024, HOP, 4), "/played": BlockStream(RATE, 1024, HOP, 4)}
    sent: dict[int, float] = {}
    trips_s: list[float] = []
    blocks = 0
    silence = np.zeros(round(args.live_s * RATE), np.float32)
    with PdSession(
        PdInstrument(name, count, None, RATE, None), HOP, Ports(timeout_s=10.0), silence
    ) as session:
        session.begin()
        begun = due = time.perf_counter()
        while (now := time.perf_counter()) - begun < args.live_s:
            if now >= due and now - begun < args.live_s - 0.2:  # time for the last answer
                number = len(sent)
                sent[number] = time.perf_counter()
                session.link.send("/agent-params", number, *[0.5] * count)
                due += PERIOD_S
            for message in session.link.receive(max(0.0, min(due - now, 0.02))):
                if message.address == "/ack":
                    trips_s.append(time.perf_counter() - sent[int(message.arguments[0])])
                elif message.address in streams:
                    blocks += 1
                    streams[message.address].put(int(message.arguments[0]), np.asarray(message.arguments[1:]))
    lost = len(sent) - len(trips_s) + sum(stream.lost for stream in streams.values())
    return {
        "synth": name,
        "round_trip_ms": 1000 * float(np.median(trips_s)),
        "worst_ms": 1000 * max(trips_s),
        "parameters": len(sent),
        "blocks": blocks,
        "messages_lost": lost,
    }


def main(argv: list[str]) -> int:
    """Run and return the exit status."""
    options = harness.parser(__doc__)
    options.add_argument("--synths", nargs="+", default=list(PARAMS), metavar="NAME")
    options.add_argument("--rows", type=int, default=200, help="(%(default)s)")
    options.add_argument("--seconds", type=float, default=0.5, help="of each row (%(default)s)")
    options.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    options.add_argument("--live-s", type=float, default=3.0, metavar="S", help="of live play (%(default)s)")
    args = options.parse_args(argv)
    rendered = [measure_rows(name, args) for name in args.synths]
    played = [measure_live(name, args) for name in args.synths]
    harness.print_table(rendered)
    print()
    harness.print_table(played)
    settings = {k: v for k, v in vars(args).items() if k != "json"}
    harness.write_json(args.json, "live_synth", settings, [*rendered, *played])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
