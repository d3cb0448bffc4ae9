"""What the sources play: clips of the corpus at the task's rate and level, read in a loop, heard through responses."""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import resample
from yacs.config import CfgNode

from audio_separation.audio.cache import ByteLru
from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.stft import RATE
from audio_separation.errors import UserError
from audio_separation.scenes.layout import paths_from_config

CACHE_BYTES = 256 * 2**20  # of clips at the task's rate
# FFTs of blocks that fit the processor's cache take a third of the time of one over the window
BLOCK_TAPS = 4  # a block is so many times as long as the response
LEAST_BLOCK = 1024  # samples


class Sounds:
    """The clips of one split of the corpus, as loops.

    Args:
        clips: the split.
        rate_hz: of the loops.
        level_db: RMS that every loop is brought to; 0 is full scale.
        classes: that sources may have; empty: all of the corpus.

    Raises:
        UserError: a class that the corpus has not, or that has no clip in this split.
    """

    def __init__(
        self, clips: ClipLibrary, rate_hz: int, level_db: float, classes: tuple[str, ...] = ()
    ) -> None:
        self.rate_hz = rate_hz
        self.level_db = level_db
        self.by_class = {name: clips.by_class(name) for name in classes or clips.classes}
        empty = [name for name in classes if not self.by_class[name]]
        if empty:
            raise UserError(
                f"config key AUDITION.CLASSES names {', '.join(empty)}, but {clips.folder} holds no such clip: leave "
                "them out or choose another DATA.SOUNDS"
            )
        self.by_class = {name: names for name, names in self.by_class.items() if names}
        self._clips = clips
        self._loops: ByteLru[str, np.ndarray] = ByteLru(CACHE_BYTES)

    def loop(self, clip: str) -> np.ndarray:
        """Return the whole clip ``[N]``, float32, read-only, band-limited across the seam of the loop too.

        Raises:
            UserError: the clip is silent, so it cannot be brought to a level.
        """
        found = self._loops.get(clip)
        if found is None:
            raw = self._clips.samples(clip).astype(np.float64) / 2**15
            found = resample(raw, round(len(raw) * self.rate_hz / RATE)) if self.rate_hz != RATE else raw
            rms = math.sqrt(np.mean(found**2))
            if rms == 0:
                raise UserError(
                    f"clip {clip!r} of {self._clips.folder} is silent, expected a sound: remove it"
                )
            found = (found * (10 ** (self.level_db / 20) / rms)).astype(np.float32)
            found.flags.writeable = False
            self._loops.put(clip, found, found.nbytes)
        return found

    def window(self, clip: str, first: int, length: int) -> np.ndarray:
        """Return ``length`` samples of the endless loop from sample ``first`` on, which may be negative."""
        loop = self.loop(clip)
        first %= len(loop)
        if first + length <= len(loop):
            return loop[first : first + length]
        return np.concatenate([loop[first:], np.resize(loop, first + length - len(loop))])

    def draw(self, count: int, rng: np.random.Generator) -> tuple[str, ...]:
        """Draw ``count`` clips of different classes.

        Raises:
            UserError: there are fewer classes.
        """
        if count > len(self.by_class):
            raise UserError(
                f"config key AUDITION.SOURCES is {count}, but sources differ in class and {self._clips.folder} has "
                f"clips of {len(self.by_class)} of the classes asked for: lower it or widen AUDITION.CLASSES"
            )
        names = sorted(self.by_class)
        chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
        return tuple(self.by_class[name][rng.integers(len(self.by_class[name]))] for name in chosen)


def open_sounds(config: CfgNode) -> Sounds:
    """Open the corpus split ``DATA.SOUNDS`` as the section ``AUDITION`` asks."""
    settings = config.AUDITION
    clips = ClipLibrary(paths_from_config(config).corpus_root, config.DATA.SOUNDS, cache_mb=0)
    return Sounds(clips, settings.RATE, settings.LEVEL_DB, tuple(settings.CLASSES))


def hear(sounds: Sounds, clip: str, first: int, length: int, response: np.ndarray, late: int) -> np.ndarray:
    """Return what is heard of an endless loop through a response that does not change.

    Args:
        clip: the loop.
        first: sample of the loop that sounds at the source at the first sample that is heard.
        length: samples L that are heard.
        response: ``[C, K]``.
        late: samples by which ``response`` comes late; the loop is read so many samples ahead.

    Returns:
        float32 ``[C, L]``; neighbouring windows of a loop join without a seam.
    """
    taps = response.shape[1]
    past = taps - 1
    size = next_fast_len(min(max(BLOCK_TAPS * taps, LEAST_BLOCK), length + past), real=True)
    fresh = size - past  # samples that a block adds; before them lies what wraps round
    count = -(-length // fresh)
    dry = sounds.window(clip, first + late - past, count * fresh + past)
    blocks = rfft(np.lib.stride_tricks.sliding_window_view(dry, size)[::fresh])  # [N, F]
    heard = irfft(blocks * rfft(response, size)[:, None], size)[..., past:]  # [C, N, fresh]
    return heard.reshape(len(response), -1)[:, :length]
