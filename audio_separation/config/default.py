"""The one default tree (yacs). YAML overlays and ``KEY VALUE`` overrides may change keys, never add them.

Sizes that follow the paper (AAViDSS, ECCV 2022) are the defaults; ``configs/`` holds the overlays, among
them the ``small`` sizes that train on a laptop CPU.
"""

from __future__ import annotations

import ast
import difflib
from pathlib import Path
from typing import Iterable, Optional

import yaml
from yacs.config import CfgNode as CN

from audio_separation.config.audition import add_audition
from audio_separation.config.limits import check_limits
from audio_separation.config.published_synth import translate
from audio_separation.config.sb3 import add_sb3
from audio_separation.config.step_signal import add_step_signal
from audio_separation.config.synth import add_synth
from audio_separation.errors import UserError

_CHOSEN = "chosen_keys"  # in the tree's __dict__, where yacs keeps its own flags; clones carry it on


def _data(c: CN) -> None:
    # homes | mp3d | replica | one's own: the folder name in metadata/, binaural_rirs/, scene_observations/
    c.DATASET = "homes"
    c.DATA = CN()
    c.DATA.ROOT = "data"  # audio_data/, passive_datasets/, active_datasets/, scene_datasets/
    c.DATA.SOUND_SPACES = "sound_spaces"  # binaural_rirs/, metadata/, scene_observations/
    c.DATA.CORPUS = "synthetic"  # folder in DATA.ROOT/audio_data
    c.DATA.PASSIVE_VERSION = "homes_v1"  # folder in DATA.ROOT/passive_datasets
    c.DATA.ACTIVE_VERSION = "homes_near_v1"  # folder in DATA.ROOT/active_datasets
    c.DATA.SPLIT = "train"  # split of the active or passive dataset
    c.DATA.SOUNDS = "train"  # split of the corpus: train (= heard), valUnheard, testUnheard
    c.DATA.MAX_EPISODES = 0  # 0: all
    c.DATA.SCENES = "all"  # all: each scene of the files must be on disk | present: use those that are


def _audio(c: CN) -> None:
    c.AUDIO = CN()
    c.AUDIO.RATE = 16000  # Hz
    c.AUDIO.N_FFT = 1023
    c.AUDIO.HOP = 512
    c.AUDIO.MODE = "causal"  # causal | paper (each second convolved alone, centre kept)
    c.AUDIO.TARGET_MONO_RMS = 1.2  # RMS over F x N of target_mono_mag
    c.AUDIO.RIR_STORE = "auto"  # auto: packed file where there is one, else the WAV tree | packed | wav
    c.AUDIO.MISSING_RIR = "error"  # error | skip: silence for that pair, listed and counted
    c.AUDIO.PREFETCH = 2  # threads that read the WAV tree ahead (0: none); packed scenes need no threads
    c.AUDIO.CACHE_MB = 512  # bound on the cached RIR spectra of each process


def _task(c: CN) -> None:
    c.TASK = CN()
    # near_target | audition (find the sources in a pyroomacoustics room) | synth (play a synthesizer that follows what
    # is heard) | step_signal (flatten a signal by a filter and an offset)
    c.TASK.NAME = "near_target"
    c.TASK.EPISODE_STEPS = 20  # steps (= seconds of sound) an episode
    # MOVE_FORWARD: ours (the straight neighbour first, then a diagonal) | published (the first that fits, in
    # the order of the graph; a diagonal is never taken where its angle passes 360 degrees)
    c.TASK.FORWARD_RULE = "ours"


def _live(c: CN) -> None:
    c.SIMULATOR = CN()
    c.SIMULATOR.TYPE = "cached"  # cached: nodes, responses and pictures from disk | live: rendered, any pose
    c.LIVE = CN()  # what SIMULATOR.TYPE live adds
    c.LIVE.STEP_M = 0.25  # MOVE_FORWARD
    c.LIVE.TURN_DEG = 30.0  # TURN_LEFT, TURN_RIGHT
    c.LIVE.STEPS_PER_SECOND = 1  # moves in a second of sound; its action is repeated so often
    c.LIVE.RADIUS_M = 0.1  # of the agent: the distance that it keeps from walls and furniture
    c.LIVE.SLIDE = True  # along what the agent runs into; False: it stops there
    c.LIVE.COLLISIONS = "freespace"  # freespace: plan or mesh | navmesh (needs habitat-sim)
    c.LIVE.SIGHT = "raycast"  # raycast | habitat (needs habitat-sim)
    c.LIVE.HABITAT_GPU = -1  # that habitat-sim renders on; -1: in software
    c.LIVE.RESOLUTION = 128  # of the pictures, pixels a side
    c.LIVE.MATERIALS = ""  # JSON database of acoustic materials; empty: the homes' own
    c.LIVE.RAYS = 0  # indirect rays of the engine; 0: as the home was made, 500 for other meshes
    c.LIVE.RAY_DEPTH = 0  # reflections that a ray is followed for; 0: until it has lost 60 dB
    c.LIVE.BANDS = 4  # frequency bands of the engine (it recommends 4 or 8)
    c.LIVE.THREADS = 1  # of the engine; with more, the same pose need not give the same samples
    c.LIVE.CONTEXT = "fresh"  # fresh: a response follows from the pose alone | kept: faster
    c.LIVE.CROSSFADE_S = 0.05  # from the response of one pose to that of the next


def _models(c: CN) -> None:
    c.SEPARATOR = CN()
    c.SEPARATOR.VARIANT = "masked"  # masked | paper
    c.SEPARATOR.CHANNELS = [64, 128, 256, 512, 512]  # encoder; the decoder mirrors it
    c.SEPARATOR.NUM_BANDS = 16  # frequency slicing: bands of F / NUM_BANDS bins
    c.SEPARATOR.CLASS_EMBEDDING = 32  # planes that carry the class (masked only)
    c.SEPARATOR.MASK_MAX = 2.0  # upper bound of the mask (masked only); the mixture is a mean of sources
    c.MEMORY = CN()
    c.MEMORY.SIZE = 20  # slots: 19 past steps and the current one
    c.MEMORY.CHANNELS = 16  # of the token CNN; the token has CHANNELS * (32 / 4)^2 values
    c.MEMORY.LAYERS = 2
    c.MEMORY.HEADS = 8
    c.MEMORY.FEEDFORWARD = 1024
    c.MEMORY.OUTPUT = "gain"  # gain: bounded factor on the input estimate, 1 at start | direct (paper)
    c.MEMORY.LOSS_STEPS = 15  # the current step and the last 14
    c.POLICY = CN()
    c.POLICY.VISION = "rgb"  # rgb | depth | rgbd | none
    c.POLICY.VISUAL_ENCODER = "cnn"  # cnn | resnet18 (needs torchvision)
    c.POLICY.IMAGE_SIZE = 128  # images are area-averaged down to this
    c.POLICY.VISUAL_CHANNELS = [32, 64, 32]
    c.POLICY.AUDIO_CHANNELS = [32, 64, 32]
    c.POLICY.HIDDEN = 512
    c.POLICY.BIN_GAIN = 1.0  # of the masked mixture before log1p; 1 published, homes are quieter


def _training(c: CN) -> None:
    c.PASSIVE = CN()  # pretraining of the separators
    c.PASSIVE.LR = 5e-4
    c.PASSIVE.EPS = 1e-5
    c.PASSIVE.BATCH = 128  # over all ranks
    c.PASSIVE.MAX_GRAD_NORM = 0.8
    c.PASSIVE.POINTS_PER_SCENE = 0  # the first this many datapoints of each scene; 0: all
    c.PASSIVE.NUM_STEPS = 20000  # gradient steps
    c.PASSIVE.LR_DECAY = False  # True: cosine to zero over NUM_STEPS
    c.PASSIVE.VAL_EVERY = 500  # steps
    c.PASSIVE.VAL_SAMPLES = 512
    c.PASSIVE.LOSS = "l1"  # l1 | mse
    c.PPO = CN()
    c.PPO.NUM_STEPS = 20  # rollout length
    c.PPO.EPOCHS = 4
    c.PPO.MINIBATCHES = 1
    c.PPO.CLIP = 0.1
    c.PPO.CLIP_DECAY = True
    c.PPO.GAMMA = 0.99
    c.PPO.GAE_LAMBDA = 0.95
    c.PPO.VALUE_COEF = 0.5
    c.PPO.ENTROPY_COEF = 0.01
    c.PPO.LR = 1e-4
    c.PPO.EPS = 1e-5
    c.PPO.LR_DECAY = True
    c.PPO.MAX_GRAD_NORM = 0.5
    c.PPO.NORMALIZE_ADVANTAGE = True
    c.MEMORY_UPDATE = CN()
    c.MEMORY_UPDATE.LR = 5e-3
    c.MEMORY_UPDATE.EPS = 1e-5
    c.MEMORY_UPDATE.EPOCHS = 4
    c.MEMORY_UPDATE.MAX_GRAD_NORM = 0.5
    c.MEMORY_UPDATE.LR_DECAY = False
    c.MEMORY_UPDATE.WINDOWS = 0  # steps an epoch looks back from, drawn anew; 0: all (published)
    c.MEMORY_UPDATE.CHUNK = 14  # environments whose gradients are computed together; fewer take less memory
    c.MEMORY_UPDATE.LOSS = "l1"  # l1 | mse
    c.TRAIN = CN()
    c.TRAIN.PASSIVE_CHECKPOINT = ""  # separators to freeze: model dir of a pretraining or a .pth file
    c.TRAIN.PRECISION = "fp32"  # fp32 | bf16: matrix products and convolutions of networks, CPU and GPU
    c.TRAIN.CHECKPOINT_EVERY = 50  # updates between numbered checkpoints (those that validation compares)
    c.TRAIN.SAVE_EVERY = 10  # updates between saves of the state to resume from


def _evaluation(c: CN) -> None:
    c.EVAL = CN()
    c.EVAL.AGENT = "policy"  # or scripted: stand | rotate | random; each task family lists its own
    c.EVAL.EPISODES = 100  # audition: drawn from SEED and DATA.SPLIT
    c.EVAL.CHECKPOINT = "best"  # all | best | latest | a .pth file
    c.EVAL.SELECT_BY = (
        "stft_l2"  # metric of `refined`; the checkpoint with the lowest (or highest dB) is best
    )
    c.EVAL.DETERMINISTIC = True  # the likeliest action, not a drawn one
    c.EVAL.REFINE_STEPS = 14  # later steps that may improve an estimate (published protocol)
    c.EVAL.EXTRA_METRICS = False  # also SI-SIR, SI-SAR, SD-SDR, SNR
    c.EVAL.REPORT_EPISODES = 1  # episodes drawn and written as WAV
    c.EVAL.NAME = ""  # folder of the results in the model dir; empty: <split>_<agent>


def default_config() -> CN:
    """Return a fresh, mutable copy of the default tree."""
    c = CN()
    c.TRAINER = (
        "active"  # passive | active | dqn, separator (of TASK.NAME audition) | sb3 (synth, step_signal)
    )
    c.SEED = 0
    c.DEVICE = "auto"  # auto | cpu | cuda
    c.THREADS = 0  # torch threads of each process; 0: cores divided by local processes
    c.NUM_PROCESSES = 14  # environments that each process (rank) steps together; the field's name for it
    c.NUM_UPDATES = 40000  # active training: rollouts collected and learnt from
    c.VERBOSE = True  # progress lines
    sections = (_data, _audio, _task, _live, _models, _training, _evaluation, add_audition)
    for fill in (*sections, add_synth, add_step_signal, add_sb3):
        fill(c)
    return c


def all_keys(node: CN, prefix: str = "") -> list[str]:
    """List the dotted names of all leaves of ``node``."""
    keys: list[str] = []
    for key, value in node.items():
        keys += all_keys(value, f"{prefix}{key}.") if isinstance(value, CN) else [f"{prefix}{key}"]
    return keys


def _unknown_key(key: str, known: list[str], where: str) -> UserError:
    # near in spelling, or the same last word in another section
    last = key.split(".")[-1]
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    near += [k for k in known if k.split(".")[-1] == last and k not in near]
    hint = (
        f"; near ones: {', '.join(near[:4])}"
        if near
        else "; audio_separation/config/default.py lists all keys"
    )
    return UserError(f"unknown config key {key} in {where}{hint}")


def _set(config: CN, key: str, value: object, where: str, known: list[str]) -> None:
    if key not in known:
        raise _unknown_key(key, known, where)
    node, parts = config, key.split(".")
    for part in parts[:-1]:
        node = node[part]
    like = node[parts[-1]]
    try:
        node[parts[-1]] = _coerce(value, like)
    except ValueError:
        raise UserError(
            f"config key {key} in {where} expects {type(like).__name__} such as {like!r}, found {value!r}"
        ) from None
    config.__dict__.setdefault(_CHOSEN, {})[key] = where


def chosen_keys(config: CN) -> frozenset[str]:
    """The keys that a YAML file or the command line has set, also those set to their default."""
    return frozenset(config.__dict__.get(_CHOSEN, ()))


def key_origin(config: CN, key: str) -> str:
    """``key``, with the file that has set it, for error messages."""
    where = config.__dict__.get(_CHOSEN, {}).get(key)
    return f"{key} (set in {where})" if where else key


def _coerce(value: object, like: object) -> object:
    """Bring ``value`` (of YAML, or a word of the command line) to the type of ``like``; ValueError if it is another."""
    if isinstance(like, str):  # a word stays as it is, also one that reads as a number
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
        raise ValueError
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = {"true": True, "false": False}.get(str(value).lower(), value)
    if isinstance(like, float) and type(value) is int:
        return float(value)
    if isinstance(like, list) and isinstance(value, tuple):
        return list(value)
    if type(value) is not type(like):
        raise ValueError
    return value


def _leaves(tree: dict, prefix: str = "") -> Iterable[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge_file(config: CN, path: Path, known: list[str], seen: tuple[Path, ...] = ()) -> None:
    if not path.is_file():
        near = sorted(str(p) for p in Path("configs").rglob("*.yaml"))
        raise UserError(
            f"config file {path} not found; this checkout has: {', '.join(near) or 'no configs/ folder'}"
        )
    if path.resolve() in seen:
        raise UserError(f"config file {path} names itself through BASE; remove the cycle")
    if path.suffix == ".json":  # settings of the published synthesizer agent
        for key, value in _leaves(translate(path)):
            _set(config, key, value, str(path), known)
        return
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"config file {path} is not readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"config file {path} should hold KEY: value lines, found a {type(tree).__name__}")
    # BASE: overlays that are read first, relative to this file
    bases = tree.pop("BASE", None) or []
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise UserError(
                f"config file {path}: BASE should name one YAML file or a list of them, found {base!r}"
            )
        _merge_file(config, path.parent / base, known, (*seen, path.resolve()))
    for key, value in _leaves(tree):
        _set(config, key, value, str(path), known)


def get_config(path: Optional[str] = None, overrides: Iterable[str] = ()) -> CN:
    """Build the frozen config: defaults, then the YAML file, then ``KEY VALUE`` pairs.

    A YAML file may name others under ``BASE`` (one or a list, relative to it); they are merged first. A .json file is
    taken as the published synthesizer agent's environment_settings.json, and translated.

    Raises:
        UserError: for a missing file, an unknown key (with the near ones), or a value of another type or out of
            its limits.
    """
    config = default_config()
    known = all_keys(config)
    if path:
        _merge_file(config, Path(path), known)
    pairs = list(overrides)
    if len(pairs) % 2:
        raise UserError(f"overrides come as KEY VALUE pairs, found {len(pairs)} words: {' '.join(pairs)}")
    for key, value in zip(pairs[::2], pairs[1::2]):
        _set(config, key, value, "the command line", known)
    check_limits(config)
    config.freeze()
    return config
