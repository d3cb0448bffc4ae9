"""Default keys of the listening synthesizer agent: what it plays and hears, its targets and rewards, playing live."""

from __future__ import annotations

from yacs.config import CfgNode as CN

LEAST = {
    "SYNTH.RATE": 8000,
    "SYNTH.REWARD_NOISE": 0,
    "SYNTH.CHANGE_PROBABILITY": 0,
    "SYNTH.STEP_SIZE": 0.0001,
    "SYNTH.MAX_STEPS": 1,
    "SYNTH.FRAMES_PER_STEP": 1,
    "SYNTH.CLIP": 0.1,
    "OSC.PORT_SEND": 0,
    "OSC.PORT_RECEIVE": 0,
    "OSC.TIMEOUT_S": 0.05,
    "OSC.RESEND_S": 0.001,
    "OSC.RESENDS": 0,
    "OSC.SECONDS": 0,
}
MOST = {
    "SYNTH.CHANGE_PROBABILITY": 1,
    "SYNTH.STEP_SIZE": 1,
    "OSC.PORT_SEND": 65535,
    "OSC.PORT_RECEIVE": 65535,
}
CHOICES = {
    "SYNTH.BACKEND": ("numpy", "pd"),
    "SYNTH.REWARD": ("linear", "cubic", "cubic+prize", "prize"),
    "SYNTH.TARGETS": ("corpus", "static_random", "dynamic_random", "mixed_random", "mixed_random+corpus"),
    "SYNTH.ACTIONS": ("steps", "joint", "delta"),
    "SYNTH.LOOKUP": ("nearest", "linear"),
    "SYNTH.HEAR": ("table", "render"),
}


def add_synth(c: CN) -> None:
    """Add the sections ``SYNTH`` and ``OSC`` to the default tree ``c``."""
    c.SYNTH = CN()
    _instrument(c.SYNTH)
    _task(c.SYNTH)
    _osc(c)


def _instrument(s: CN) -> None:
    s.NAME = "fm3"  # sine | fm3 | fm4 | granular | one's own, a patch
    s.BACKEND = "numpy"  # numpy: closed form | pd: Pure Data, headless
    s.PATCH = ""  # with pd: an abstraction synth.pd of one's own; empty: the patch of NAME
    s.SOURCE = ""  # sound that granular plays; empty: a generated one
    s.RATE = 44100  # Hz
    s.TABLE = ""  # folder of lookup_table.csv; empty: DATA.ROOT/synth/tables/<NAME>
    s.CORPUS = "music"  # folder in DATA.ROOT/synth/corpora, or a path; empty: no corpus
    s.CORPUS_AUDIO = ""  # folder of its recordings, to be heard in reports; empty: they are left out


def _task(s: CN) -> None:
    s.FEATURES = ["loudness", "mfcc", "specshape"]  # observed: columns or categories
    s.REWARD_FEATURES = ["mfcc", "specshape-centroid"]  # compared: some of FEATURES
    s.REWARD_WEIGHTS = []  # one for each word of REWARD_FEATURES; empty: 1
    s.REWARD = "cubic"  # linear | cubic (bounded) | cubic+prize | prize
    s.REWARD_NOISE = 0.0  # weight of a difference of two random numbers (published 0.1)
    # corpus | static_random | dynamic_random | mixed_random (one of the two) | mixed_random+corpus (half of each)
    s.TARGETS = "mixed_random+corpus"
    s.CHANGE_PROBABILITY = 0.005  # of a new dynamic target, each step (published)
    s.ACTIONS = (
        "steps"  # steps: -, 0, + for each parameter | joint: the same as one number (published) | delta
    )
    s.STEP_SIZE = 0.05  # of a parameter's move (steps, joint), or the largest (delta)
    s.MAX_STEPS = 200  # then the episode is truncated
    s.FRAMES_PER_STEP = 4  # frames of the analysis in a control period
    s.LOOKUP = "nearest"  # row of the table for parameters between its rows: nearest (published) | linear
    s.HEAR = "table"  # the agent's own sound: table | render (the sound itself, analysed)
    s.CLIP = 5.0  # of standardised descriptors and parameters


def _osc(c: CN) -> None:
    c.OSC = CN()  # --run-type live
    c.OSC.HOST = "127.0.0.1"
    c.OSC.PORT_SEND = 0  # to Pure Data (published 6667); 0: any free one
    c.OSC.PORT_RECEIVE = 0  # from Pure Data (published 6666); 0: any free one
    c.OSC.TIMEOUT_S = 2.0  # of the start-up handshake, and of a Pure Data that has fallen silent
    c.OSC.RESEND_S = 0.05  # parameters that are not acknowledged go out again after this time ...
    c.OSC.RESENDS = 5  # ... so many times
    c.OSC.INPUT = "device"  # device: Pure Data's sound card | a sound file, played in
    c.OSC.SECONDS = 0.0  # to play; 0: until stopped, or to the end of the file
    c.OSC.RECORD = False  # also write what was played
