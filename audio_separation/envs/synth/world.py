"""What the environments of one run share: the lookup table, the space of sounds, the instrument, the pieces."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Sequence

import numpy as np
from yacs.config import CfgNode

from audio_separation.envs.synth.corpus import Corpus, load_corpus
from audio_separation.envs.synth.instrument import Instrument, build_synth
from audio_separation.envs.synth.space import SoundSpace
from audio_separation.envs.synth.table import LookupTable, check_table, load_table
from audio_separation.envs.synth.targets import MODES, Piece, check_pieces, periods
from audio_separation.errors import UserError


class SynthWorld(NamedTuple):
    """Everything but the state of an episode.

    Attributes:
        synth_rate_hz: of the sound.
        period: samples of a control period.
    """

    table: LookupTable
    space: SoundSpace
    instrument: Instrument
    pieces: Sequence[Piece]
    synth_rate_hz: int
    period: int

    @property
    def num_params(self) -> int:
        """P."""
        return self.table.num_params

    def plain(self) -> dict[str, Any]:
        """What acting takes, as plain data: the space of sounds, and the identity of the table that scales it."""
        return {
            **self.space.plain(),
            "num_params": self.num_params,
            "table_hash": self.table.hash,
            "table_settings": dict(self.table.settings),
        }


def table_folder(config: CfgNode) -> Path:
    """Where the lookup table of the config lies."""
    return Path(config.SYNTH.TABLE or Path(config.DATA.ROOT) / "synth" / "tables" / config.SYNTH.NAME)


def corpus_folder(config: CfgNode) -> Path:
    """Where the corpus of the config lies: SYNTH.CORPUS below DATA.ROOT, or as a path where only that exists."""
    given, named = Path(config.SYNTH.CORPUS), Path(config.DATA.ROOT, "synth", "corpora", config.SYNTH.CORPUS)
    # not the other way round: a folder "music" of recordings where one happens to be is no corpus
    return given if given.is_dir() and not named.is_dir() else named


def open_table(config: CfgNode) -> LookupTable:
    """Load the table, once for each place, and check that it is of the synthesizer of the config.

    Raises:
        UserError: missing, damaged, or of another synthesizer.
    """
    table = _load_table(table_folder(config).resolve())
    synth = build_synth(config, table.num_params)
    check_table(table, synth, synth.num_params)
    return table


@lru_cache(maxsize=4)
def _load_table(folder: Path) -> LookupTable:
    return load_table(folder)


@lru_cache(maxsize=4)
def _load_corpus(folder: Path, split: str) -> Corpus:
    return load_corpus(folder, split)


def open_world(config: CfgNode, split: str) -> SynthWorld:
    """Open all that the section SYNTH names; ``split`` is that of the corpus.

    Raises:
        UserError: for missing, damaged or foreign data, or settings that do not fit.
    """
    synth = config.SYNTH
    table = open_table(config)
    space = SoundSpace(config, table)
    renders = synth.HEAR == "render"
    instrument = Instrument(
        table,
        space,
        synth.LOOKUP,
        build_synth(config, table.num_params) if renders else None,
        synth.FRAMES_PER_STEP,
    )
    pieces = _pieces(config, split, table, space)
    period = synth.FRAMES_PER_STEP * instrument.hop
    return SynthWorld(table, space, instrument, pieces, synth.RATE, period)


def _pieces(config: CfgNode, split: str, table: LookupTable, space: SoundSpace) -> list[Piece]:
    synth = config.SYNTH
    if "corpus" not in MODES[synth.TARGETS]:
        return []
    if not synth.CORPUS:
        raise UserError(
            f"SYNTH.TARGETS {synth.TARGETS} needs a corpus, and SYNTH.CORPUS is empty; name one, or take mixed_random"
        )
    folder = corpus_folder(config)
    # what an agent is chosen by is not what it is tested with
    corpus = _load_corpus(folder.resolve(), "train" if split == "val" else split)
    _check_same_analysis(corpus, table, folder)
    places = [corpus.names.index(name) for name in _columns_of(corpus, space, folder)]
    pieces = [
        Piece(name, space.scaler(periods(np.asarray(frames)[:, places], synth.FRAMES_PER_STEP)))
        for name, frames in zip(corpus.file_names, corpus.files)
    ]
    check_pieces(pieces, synth.TARGETS, str(folder))
    return pieces


def _columns_of(corpus: Corpus, space: SoundSpace, folder: Path) -> list[str]:
    lacking = [name for name in space.names if name not in corpus.names]
    if lacking:
        raise UserError(
            f"the corpus {folder} lacks {', '.join(lacking[:3])}, which SYNTH.FEATURES asks for; leave them out, or "
            "analyse the sounds anew: python scripts/analyze_corpus.py"
        )
    return list(space.names)


def _check_same_analysis(corpus: Corpus, table: LookupTable, folder: Path) -> None:
    """Frames of another rate or length are other descriptors; published files do not say theirs."""
    for key in ("rate_hz", "window", "hop"):
        one, two = corpus.settings.get(key), table.settings.get(key)
        if one is not None and two is not None and one != two:
            raise UserError(
                f"the corpus {folder} was analysed with {key} {one}, the lookup table with {two}; analyse one of them "
                "anew with the other's"
            )
