"""What goes wrong with Pure Data and its patches is told in a sentence, and soon."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pd_setup import children, write_patch

from audio_separation.audio.puredata import process
from audio_separation.audio.puredata.patch_text import PatchText, atom
from audio_separation.audio.puredata.process import PdProcess, complaint, find_pd
from audio_separation.audio.puredata.render import PdSynth
from audio_separation.errors import UserError

ROW = np.array([0.5, 0.5])


def refuse(patch, words: str, num_params: int = 2) -> str:
    with pytest.raises(UserError, match=words) as error:
        PdSynth("mine", num_params, patch=patch).render(ROW[:num_params], 0.05)
    assert str(patch) in str(error.value)
    return str(error.value)


def test_no_pure_data(monkeypatch, tmp_path):
    monkeypatch.setenv("PD", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(process, "PROGRAMS", ("pd",))
    with pytest.raises(
        UserError, match=r"apt install puredata-core.*puredata\.info.*environment variable PD"
    ):
        PdSynth("sine", 2).render(ROW, 0.05)
    monkeypatch.setenv("PD", str(tmp_path / "none"))
    with pytest.raises(UserError, match="environment variable PD names .*none"):
        find_pd()


def test_a_patch_that_is_not_there(tmp_path):
    refuse(tmp_path / "none.pd", "does not exist; correct SYNTH.PATCH")


def test_a_file_that_is_no_patch(tmp_path):
    path = tmp_path / "text.pd"
    path.write_text("hello world")
    refuse(path, "no patch of Pure Data")


def test_a_name_that_pure_data_cannot_call(tmp_path):
    refuse(write_patch(tmp_path / "my synth; $1.pd"), "rename it")


def test_names_and_numbers_of_parameters_of_ours():
    with pytest.raises(UserError, match="no patch of a synthesizer 'fm9'.*sine, fm3, fm4, granular"):
        PdSynth("fm9", 3)
    with pytest.raises(UserError, match="sine has 2 parameters .*found 3"):
        PdSynth("sine", 3)
    with pytest.raises(UserError, match="1 parameter or more, found 0"):
        PdSynth("mine", 0, patch=process.Path("x.pd"))
    with pytest.raises(UserError, match="sine reads no source"):
        PdSynth("sine", 2, source=process.Path("x.wav"))


@pytest.mark.parametrize("bad", [1.01, -0.1, np.nan])
def test_parameters_outside_their_range(bad):
    with pytest.raises(UserError, match=r"must lie in \[0, 1\], found"):
        PdSynth("sine", 2).render_rows([[0.5, 0.5], [0.1, bad]], 0.05)
    with pytest.raises(UserError, match=r"takes 2 parameters, found an array of shape \(3,\)"):
        PdSynth("sine", 2).render(np.zeros(3), 0.05)


@pytest.mark.usefixtures("pd")
class TestPatchesThatFail:
    def test_an_unknown_object(self, tmp_path):
        refuse(
            write_patch(tmp_path / "mine.pd", extra=("foobar 1 2",)),
            r"could not create the object \[foobar 1 2\]",
        )

    def test_a_missing_array(self, tmp_path):
        refuse(write_patch(tmp_path / "mine.pd", extra=("tabread~ nosuch",)), "complains: tabread~: nosuch")

    def test_no_sound(self, tmp_path):
        refuse(write_patch(tmp_path / "mine.pd", sound="silence"), "makes no sound, whatever its parameters")

    def test_samples_that_are_no_numbers(self, tmp_path):
        refuse(write_patch(tmp_path / "mine.pd", sound="nan"), "samples that are no numbers")

    def test_one_that_never_ends_is_ended(self, tmp_path):
        patch = PatchText()
        patch.chain(patch.obj("loadbang"), patch.obj("until"), patch.obj("f"))
        (tmp_path / "mine.pd").write_text(patch.text())
        synth = PdSynth("mine", 2, patch=tmp_path / "mine.pd")
        synth.start_s = 0.5
        begun = time.monotonic()
        with pytest.raises(UserError, match="had not finished after 1 s and was ended"):
            synth.render(ROW, 0.05)
        assert time.monotonic() - begun < 3 and children() == []

    def test_one_that_quits(self, tmp_path):
        patch = PatchText()
        patch.chain(patch.obj("loadbang"), patch.msg("; pd quit"))
        (tmp_path / "mine.pd").write_text(patch.text())
        refuse(tmp_path / "mine.pd", "ended before it had written all of its sound")

    def test_one_that_prints_without_end_takes_no_memory(self, tmp_path):
        patch = PatchText()
        patch.chain(patch.obj("bang~"), patch.obj("print", "x" * 300))
        (tmp_path / "loud.pd").write_text(patch.text())
        with PdProcess(
            ["-noaudio", "-noprefs", "-open", str(tmp_path / "loud.pd"), "-send", "; pd dsp 1"]
        ) as running:
            deadline = time.monotonic() + 10
            while (
                len(running.lines()) < process.HEAD_LINES + process.TAIL_LINES and time.monotonic() < deadline
            ):
                time.sleep(0.05)
            assert len(running.lines()) == process.HEAD_LINES + process.TAIL_LINES
        assert running.status is not None


def test_what_pure_data_prints_is_understood():
    lines = ["verbose(0): foobar 1 2", "verbose(1): ... couldn't create", "error: later"]
    assert "[foobar 1 2]" in complaint(lines, "x.pd")
    assert "[foo]" in complaint(["foo", "... couldn't create"], "x.pd")
    assert "complains: tabread~: no such" in complaint(["print: 1", "error: tabread~: no such"], "x.pd")
    assert complaint(["print: an error: none", "warning: old"], "x.pd") is None


def test_words_of_a_patch_are_escaped():
    assert [atom(value) for value in ("a b", "$1,;", 2.0, 3, 0.1)] == [
        "a\\ b",
        "\\$1\\,\\;",
        "2.0",
        "3",
        "0.1",
    ]
    assert atom(np.nextafter(np.float32(0.1), np.float32(1))) == "0.100000008941"
