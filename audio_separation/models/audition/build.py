"""Networks of the audition tasks from the config tree."""

from __future__ import annotations

from yacs.config import CfgNode

from audio_separation.audio.cues import cue_size
from audio_separation.audio.transform import Stft
from audio_separation.errors import UserError
from audio_separation.models.audition.agent import AuditionAgent
from audio_separation.models.audition.asteroid import AsteroidSeparator, new_model, pretrained_model
from audio_separation.models.audition.dprnn import PRESETS, DprnnTasNet
from audio_separation.models.audition.mask_network import MaskNetwork
from audio_separation.models.audition.q_network import QNetwork
from audio_separation.models.audition.separation import Separator

POSE_SIZE = 4  # x, y, cos and sin of the heading


def build_separator(config: CfgNode) -> Separator:
    """Build the separator of ``config.AUDITION.SEPARATOR``, untrained but for asteroid's ``PRETRAINED``.

    ``CHECKPOINT`` is the trainer's to load: what continues or evaluates a run has all weights.

    Raises:
        UserError: keys that do not fit together, or asteroid or its file is not to be had.
    """
    c, num_sources = config.AUDITION.SEPARATOR, config.AUDITION.SOURCES
    stft = _build_stft(config)
    if c.PRETRAINED and c.TYPE != "asteroid":
        raise UserError(
            f"config key AUDITION.SEPARATOR.PRETRAINED is for TYPE asteroid, but TYPE is {c.TYPE}: weights of our "
            "own separators go into AUDITION.SEPARATOR.CHECKPOINT"
        )
    if c.TYPE == "mask":
        return MaskNetwork(num_sources, stft, c.INPUT, c.HIDDEN, c.LAYERS, c.DROPOUT)
    if c.TYPE == "dprnn":
        return DprnnTasNet(num_sources, stft, PRESETS[c.PRESET], c.DROPOUT)
    if c.PRETRAINED:
        model = pretrained_model(c.PRETRAINED, num_sources, config.AUDITION.RATE)
    else:
        model = new_model(num_sources, PRESETS[c.PRESET])
    return AsteroidSeparator(num_sources, stft, model)


def build_agent(config: CfgNode, num_actions: int) -> AuditionAgent:
    """Build the agent of ``config.AUDITION``.

    Raises:
        UserError: as :func:`build_separator`, or a width of QNET.HIDDEN is none.
    """
    c = config.AUDITION
    hidden = list(c.QNET.HIDDEN)
    if not all(type(width) is int and width > 0 for width in hidden):
        raise UserError(f"config key AUDITION.QNET.HIDDEN must list positive integers, found {hidden}")
    separator = build_separator(config)
    cues = cue_size(c.SOURCES, separator.stft.num_bins, c.QNET.POOL, c.QNET.WEIGHT)
    q_network = QNetwork(cues, num_actions, hidden, POSE_SIZE if c.POSE else 0)
    return AuditionAgent(separator, q_network, c.QNET.POOL, c.QNET.WEIGHT, frozen=c.SEPARATOR.FROZEN)


def _build_stft(config: CfgNode) -> Stft:
    c = config.AUDITION.SEPARATOR
    if c.N_FFT % 2 or c.HOP > c.N_FFT // 2:
        raise UserError(
            "config keys AUDITION.SEPARATOR.N_FFT and HOP must be even and at most half of N_FFT, found "
            f"{c.N_FFT} and {c.HOP}; published are 256 and 64"
        )
    return Stft(c.N_FFT, c.HOP)
