"""Examples for pretraining: a listener's place from the passive dataset, and clips drawn anew each time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.render import BinauralRenderer, Heard, Listeners
from audio_separation.errors import UserError
from audio_separation.scenes.passive import PassivePoint, PassivePoints


class PassiveBatch(NamedTuple):
    """What to render; the target is source 0."""

    points: list[PassivePoint]
    sounds: list[list[str]]  # [B][S] clip names
    seconds: np.ndarray  # [B, S]
    labels: np.ndarray  # [B] class of the target

    def part(self, index: slice) -> PassiveBatch:
        """A contiguous part of the batch."""
        return PassiveBatch(self.points[index], self.sounds[index], self.seconds[index], self.labels[index])


def draw_batch(
    points: PassivePoints, clips: ClipLibrary, count: int, rng: np.random.Generator
) -> PassiveBatch:
    """Draw ``count`` places and, for each, a target and distractors of other classes.

    Every class is equally likely, then every clip of it, then every second; classes that are only ever
    distractors (``esc``) are never the target.

    Raises:
        UserError: where the split has clips of fewer classes than there are sources.
    """
    present = [c for c in clips.classes if clips.by_class(c)]  # a split need not have clips of every class
    targets = [c for c in present if c not in clips.distractor_only]
    num_sources = points.sources.shape[1]
    if not targets or len(present) < num_sources:
        raise UserError(
            f"{num_sources} sources need clips of {num_sources} classes, one of them no distractor; {clips.folder} "
            f"has {len(present)} ({len(targets)} of them may be targets): add recordings, or make the data anew"
        )
    chosen = [points[int(i)] for i in rng.integers(len(points), size=count)]
    sounds, seconds, labels = [], [], []
    for _ in range(count):
        target = targets[rng.integers(len(targets))]
        others = [c for c in present if c != target]
        classes = [target, *rng.choice(others, size=num_sources - 1, replace=False)]
        names = [str(rng.choice(clips.by_class(c))) for c in classes]
        sounds.append(names)
        seconds.append([rng.integers(clips.num_seconds(name)) for name in names])
        labels.append(clips.classes.index(target))
    return PassiveBatch(chosen, sounds, np.array(seconds), np.array(labels))


def hear_batch(renderer: BinauralRenderer, batch: PassiveBatch) -> Heard:
    """Spectrograms of mixture, binaural target and mono target of every example."""
    listeners = Listeners(
        [point.scene for point in batch.points],
        np.array([point.azimuth for point in batch.points]),
        np.array([point.receiver for point in batch.points]),
        np.array([point.sources for point in batch.points]),
        batch.sounds,
        batch.seconds,
    )
    return renderer.hear(listeners, target_bin=True, phases=False)
