"""The patch that plays: one of ours by its name, or an abstraction of the user's own."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any, Optional

import numpy as np
import soundfile

from audio_separation.audio.puredata.patch_text import PatchText
from audio_separation.audio.synths import GRAIN_SECONDS, PARAMS, read_source
from audio_separation.errors import UserError

PATCHES = Path(__file__).parent / "patches"
LINK = "listened"  # in the folder of a generated patch: the folder of the instrument
SOURCE_ARRAY = "synth-source"
RESET, RAMP, SOURCE_LENGTH = "synth-reset", "synth-ramp", "synth-source-length"  # what patches may receive
_CLEAN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.~-]*\.pd")
_FASTEST = 2.0  # samples of the source for each of a grain


class PdInstrument:
    """An abstraction with one inlet, a list of P parameters in [0, 1], and one outlet of sound.

    It may receive ``synth-reset`` (begin anew, at phase 0), ``synth-ramp`` (ms in which parameters shall move) and
    read the array ``synth-source`` (whose first ``synth-source-length`` samples are the source; the rest is its
    beginning again), where there is a source.

    Args:
        name: of the synthesizer; one of ours, or any with ``patch``.
        num_params: P.
        patch: the abstraction's file; None: ours of ``name``.
        rate_hz: of the sound.
        source: sound file; for granular a generated sound where it is None.

    Attributes:
        param_names: P of them.
        own: it is one of ours.

    Raises:
        UserError: for an unknown name, another number of parameters, or files that cannot be used.
    """

    def __init__(
        self, name: str, num_params: int, patch: Optional[Path], rate_hz: int, source: Optional[Path]
    ):
        self.name, self.rate_hz, self.own = name, rate_hz, patch is None
        if patch is None:
            if name not in PARAMS:
                raise UserError(
                    f"there is no patch of a synthesizer {name!r} of ours; expected one of {', '.join(PARAMS)}, or "
                    "name your own in SYNTH.PATCH"
                )
            if num_params != len(PARAMS[name]):
                raise UserError(
                    f"synthesizer {name} has {len(PARAMS[name])} parameters ({', '.join(PARAMS[name])}), found "
                    f"{num_params}"
                )
            if source is not None and name != "granular":
                raise UserError(f"synthesizer {name} reads no source, found {source}; leave it out")
            self.param_names, self.patch = PARAMS[name], PATCHES / f"{name}.pd"
        else:
            if num_params < 1:
                raise UserError(f"a synthesizer needs 1 parameter or more, found {num_params} for {patch}")
            check_patch(patch)
            self.param_names, self.patch = tuple(f"p{k}" for k in range(num_params)), patch
        wanted = source is not None or name == "granular"
        self._source = read_source(source, rate_hz) if wanted else None
        if self._source is not None and not len(self._source):
            raise UserError(f"the source {source} holds no sound; name another")

    @property
    def num_params(self) -> int:
        """P."""
        return len(self.param_names)

    def describe(self) -> dict[str, Any]:
        """Plain data that the sound follows from; files that the patch reads beside the source are not in it."""
        source = "" if self._source is None else hashlib.sha256(self._source.tobytes()).hexdigest()
        patch = hashlib.sha256(self.patch.read_bytes()).hexdigest()
        return {
            "synth": self.name, "backend": "pd", "rate_hz": self.rate_hz, "source": source, "patch": patch,
        }  # fmt: skip

    def install(self, folder: Path, patch: PatchText) -> tuple[int, Optional[int]]:
        """Put the instrument into a generated ``patch`` in ``folder``.

        Returns:
            its box, and the box that loads the source when banged, before parameters come (None: it has none).
        """
        # by a link, any folder will do, and what the patch names by relative paths is found
        os.symlink(self.patch.parent.resolve(), folder / LINK, target_is_directory=True)
        for receiver in (RESET, RAMP, SOURCE_LENGTH):
            patch.obj("r", receiver)  # messages that nothing receives are errors
        loader = None
        if self._source is not None:
            # grains wrap round at its end
            room = int(_FASTEST * GRAIN_SECONDS[1] * self.rate_hz) + 4
            longer = np.resize(self._source, len(self._source) + room)
            soundfile.write(folder / "source.wav", longer, self.rate_hz, subtype="FLOAT")
            patch.obj("array", "define", SOURCE_ARRAY, len(longer))
            loader = patch.msg(
                f"read -resize -maxsize {len(longer)} source.wav {SOURCE_ARRAY}; "
                f"{SOURCE_LENGTH} {len(self._source)}"
            )
            patch.chain(loader, patch.obj("soundfiler"))
        return patch.obj(f"{LINK}/{self.patch.stem}"), loader


def check_patch(patch: Path) -> None:
    """Refuse a file that can be no abstraction.

    Raises:
        UserError: that says why.
    """
    if not patch.is_file():
        raise UserError(f"the patch {patch} does not exist; correct SYNTH.PATCH")
    if not _CLEAN_NAME.fullmatch(patch.name):
        raise UserError(
            f"{patch}: the name of a patch must be letters, digits and _ . ~ - with the ending .pd, so that Pure Data "
            "can call it; rename it"
        )
    with patch.open("rb") as file:
        begin = file.read(9)
    if begin != b"#N canvas":
        raise UserError(f"{patch} is no patch of Pure Data (it begins with {begin!r}); correct SYNTH.PATCH")
