"""Default keys of the audition tasks (OtoWorld, AuralNav): rooms, sources, ears, rewards, networks, DQN."""

from __future__ import annotations

from yacs.config import CfgNode as CN


def add_audition(c: CN) -> None:
    """Add the sections ``AUDITION`` and ``DQN`` to the default tree ``c``."""
    c.AUDITION = CN()
    _world(c.AUDITION)
    _networks(c.AUDITION)
    _dqn(c)


def _world(a: CN) -> None:
    a.ROOM = CN()
    a.ROOM.SHAPE = "shoebox"  # shoebox | polygon (regular) | l_shape | random (one of them each episode)
    a.ROOM.WIDTH_M = [6.0, 8.0]  # range of a shoebox's and an L's sides and of a polygon's diameter
    a.ROOM.POLYGON_SIDES = [5, 8]  # range
    a.ROOM.HEIGHT_M = (
        0.0  # 0: sound spreads in the plane (published); else ears and sources at half the height
    )
    a.ROOM.ABSORPTION = [0.3, 0.6]  # range of the walls' energy absorption, drawn for each room
    a.ROOM.MATERIAL = (
        ""  # instead of ABSORPTION: a material of pyroomacoustics' database, such as hard_surface
    )
    a.ROOM.MAX_ORDER = 6  # reflections; polygons and L-shapes cost far more than shoeboxes
    a.ROOM.WALL_M = 0.3  # nothing and nobody comes nearer to a wall
    a.SOURCES = 2
    a.CLASSES = []  # of the corpus, that sources are drawn from; empty: all. Sources differ in class
    a.FIXED_EPISODE = False  # the same room, places and sounds every time (published "same_config")
    # spacing: sources so many steps from the middle of the room, and from each other; the agent so many radii from
    # every source
    a.CENTRE_STEPS = [2.0, 5.0]
    a.APART_STEPS = 2.0
    a.START_RADII = 2.0
    a.EAR_DISTANCE_M = 0.2
    a.EARS = "lateral"  # lateral | heading (published: the first ear behind the second)
    a.ACTIONS = (
        "turn"  # turn: forward, backward, turn left, right | compass: up, down, left, right, turn left, right
    )
    a.STEP_M = 0.5
    a.TURN_DEG = 30.0
    a.RADIUS_M = 0.5  # a source is turned off by coming this near
    a.MAX_STEPS = 200  # then the episode is truncated
    a.RATE = 8000  # Hz
    a.SECONDS = 4.0  # of sound in an observation, and from one step to the next
    a.LEVEL_DB = -25.0  # RMS of every clip, full scale is 0
    a.POSE = False  # also observe x, y, cos and sin of the heading
    a.CACHE_MB = 256  # bound on cached responses
    a.REWARD = CN()
    a.REWARD.STEP = -0.5  # every step (seed text: -0.1)
    a.REWARD.TURN = -0.1  # a turn, beside STEP
    a.REWARD.FOUND = 100.0  # each source turned off (seed text: 10)
    a.REWARD.CLOSEST = (
        0.0  # times 1 / metres to the nearest source, on steps that find none (published dense: 1)
    )
    a.REWARD.PROGRESS = 0.0  # times the metres that the way to the nearest source has become shorter


def _networks(a: CN) -> None:
    a.SEPARATOR = CN()
    a.SEPARATOR.TYPE = "mask"  # mask (BLSTM on spectra) | dprnn (TasNet) | asteroid (its DPRNNTasNet)
    a.SEPARATOR.CHECKPOINT = ""  # weights to begin with: model dir of a separator training or a .pth file
    a.SEPARATOR.FROZEN = False  # True: learn the Q-network alone
    a.SEPARATOR.N_FFT = 256
    a.SEPARATOR.HOP = 64
    a.SEPARATOR.INPUT = "logmag"  # mask: logmag | spatial (also cos and sin of the interaural phase)
    a.SEPARATOR.HIDDEN = 50  # mask: units of the BLSTM, each direction
    a.SEPARATOR.LAYERS = 1
    a.SEPARATOR.DROPOUT = (
        0.0  # mask: between layers and before the masks (published 0.3); dprnn: in each path
    )
    a.SEPARATOR.PRESET = "tiny"  # dprnn, asteroid: tiny (90 k parameters) | small | medium | large (3.6 M)
    a.SEPARATOR.PRETRAINED = ""  # asteroid: file that its DPRNNTasNet.serialize() made
    a.QNET = CN()
    a.QNET.POOL = "time_frequency"  # cues averaged over: time_frequency | time (one value a bin)
    a.QNET.WEIGHT = "mask"  # weights of the average: mask (published) | energy (mask times power)
    a.QNET.HIDDEN = [128, 128]
    a.PRETRAIN = CN()  # TRAINER separator: supervised, on rendered rooms
    a.PRETRAIN.LR = 1e-3
    a.PRETRAIN.BATCH = 16
    a.PRETRAIN.NUM_STEPS = 5000
    a.PRETRAIN.PLACES = (
        2000  # rooms with an agent and sources whose responses are rendered once and heard again
    )
    a.PRETRAIN.LOSS = "si_sdr"  # si_sdr | l1 (of masked magnitudes), best permutation of the sources
    a.PRETRAIN.MAX_GRAD_NORM = 5.0
    a.PRETRAIN.VAL_EVERY = 500
    a.PRETRAIN.VAL_SAMPLES = 128


def _dqn(c: CN) -> None:
    c.DQN = CN()
    c.DQN.NUM_STEPS = 50000  # steps of all environments together
    c.DQN.START_STEPS = 1000  # at random before the first update
    c.DQN.UPDATE_EVERY = 4  # steps
    c.DQN.BATCH = 32
    c.DQN.LR = 1e-3
    c.DQN.SEPARATOR_LR = 1e-4
    c.DQN.GAMMA = 0.98
    c.DQN.DOUBLE = True
    c.DQN.LOSS = "huber"  # huber | mse
    c.DQN.REWARD_SCALE = 0.01  # of rewards in the loss, so that values are of the order of 1
    c.DQN.TARGET = "hard"  # hard: copied every TARGET_EVERY steps | soft: TAU of the way at each update
    c.DQN.TARGET_EVERY = 500  # steps
    c.DQN.TAU = 0.005
    c.DQN.AVERAGE = (
        0.995  # validated and saved are weights averaged over updates with this decay; 0: the last ones
    )
    c.DQN.EPSILON_START = 0.9
    c.DQN.EPSILON_END = 0.1
    c.DQN.EPSILON_DECAY = "linear"  # linear | exponential
    c.DQN.EPSILON_STEPS = 20000  # linear: from START to END | exponential: time constant
    c.DQN.MAX_GRAD_NORM = 10.0
    c.DQN.AUTOCLIP = 0.0  # instead: clip at this percentile of the norms so far; 0: off (published 10)
    c.DQN.BUFFER = 10000  # transitions kept
    c.DQN.BALANCED = True  # draw episodes evenly, then a transition of each
    c.DQN.BUFFER_DIR = ""  # folder for the buffer's file; empty: in main memory
    c.DQN.VAL_EVERY = 5000  # steps between validations, which write a checkpoint each
    c.DQN.VAL_EPISODES = 20
