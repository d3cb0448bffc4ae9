"""Runs eSpeak NG in a process of its own; started by ``speech.synthesise``, never imported.

eSpeak keeps its state in globals: the same sentence comes out different after another one, in the place of
its noise and even in length. A fresh process with fixed seeds makes each clip depend on its own request
alone, whatever was spoken before and on however many cores. It also keeps a crash of the library from
taking the caller along. Only the standard library is used, so that starting costs milliseconds.

stdin: one JSON object {"library", "data_parent", "voice", "pitch", "pitch_range", "words_per_minute",
"volume", "sentences": [str, ...], "enough_samples": int, "rand_seed": int}.
stdout: for each spoken sentence the number of samples (uint32 little-endian) and the int16 samples, until
``enough_samples`` are reached. Exit status 3 with one line on stderr tells what eSpeak refused.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys

AUDIO_OUTPUT_SYNCHRONOUS = (
    2  # as retrieval mode, but espeak_Synth returns only when all samples are delivered
)
DONT_EXIT = 0x8000
CHARS_UTF8 = 1
RATE_HZ = 22050
# espeak_PARAMETER numbers
WORDS_PER_MINUTE, VOLUME, PITCH, PITCH_RANGE = 1, 2, 3, 4

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def _refuse(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(3)


def _load(request: dict) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(request["library"])
    except OSError as error:
        _refuse(f"the library does not load: {error}")
    # eSpeak holds the data path in 160 characters; relative to its parent it always fits.
    os.chdir(request["data_parent"])
    rate_hz = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, b".", DONT_EXIT)
    if rate_hz != RATE_HZ:
        _refuse(f"espeak_Initialize returned {rate_hz}, expected the sample rate {RATE_HZ}")
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]  # else seeded from the clock: breath and flutter
    library.espeak_ng_SetRandSeed(request["rand_seed"])
    return library


def main() -> None:
    request = json.load(sys.stdin)
    library = _load(request)
    pieces = []

    def receive(samples, count, _events):
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _CALLBACK(receive)  # kept in a local: ctypes does not hold it
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        _refuse(f"no voice {request['voice']!r}")
    for parameter, key in (
        (WORDS_PER_MINUTE, "words_per_minute"),
        (VOLUME, "volume"),
        (PITCH, "pitch"),
        (PITCH_RANGE, "pitch_range"),
    ):
        library.espeak_SetParameter(parameter, int(request[key]), 0)

    total = 0
    for sentence in request["sentences"]:
        pieces.clear()
        text = sentence.encode("utf-8") + b"\0"
        if library.espeak_Synth(text, len(text), 0, 1, 0, CHARS_UTF8, None, None) != 0:
            _refuse(f"could not speak {sentence!r}")
        spoken = b"".join(pieces)
        sys.stdout.buffer.write(struct.pack("<I", len(spoken) // 2) + spoken)
        total += len(spoken) // 2
        if total >= request["enough_samples"]:
            break


if __name__ == "__main__":
    main()
