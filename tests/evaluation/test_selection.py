"""Choosing and linking the best checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_fakes import load

from audio_separation.errors import UserError
from audio_separation.evaluation.selection import best_checkpoint, choose_best, numbered_checkpoints
from audio_separation.training.checkpoint import link_best


def summary(number: int, stft_l2: float, si_sdr_db: float) -> dict:
    refined = {
        "stft_l2": {"mean": stft_l2, "ci95": 0.01, "n": 5},
        "si_sdr_db": {"mean": si_sdr_db, "ci95": None, "n": 1},
    }
    return {
        "checkpoint": f"ckpt/ckpt.{number}.pth",
        "methods": {"refined": refined},
        "split": "valUnheard",
        "sounds": "valUnheard",
    }


def test_lowest_error_or_highest_ratio_wins():
    summaries = [summary(20, 0.3, 4.0), summary(3, 0.2, 3.0), summary(100, 0.25, 5.0)]
    by_error = choose_best(summaries, "stft_l2")
    assert by_error["checkpoint"] == "ckpt/ckpt.3.pth" and by_error["value"] == 0.2
    assert [c["checkpoint"] for c in by_error["candidates"]] == [f"ckpt/ckpt.{n}.pth" for n in (3, 20, 100)]
    assert by_error["candidates"][0] == {"checkpoint": "ckpt/ckpt.3.pth", "value": 0.2, "ci95": 0.01}
    by_ratio = choose_best(summaries, "si_sdr_db")
    assert by_ratio["checkpoint"] == "ckpt/ckpt.100.pth" and by_ratio["value"] == 5.0
    assert (by_ratio["metric"], by_ratio["split"], by_ratio["sounds"]) == (
        "si_sdr_db",
        "valUnheard",
        "valUnheard",
    )


def test_the_earliest_of_equals_wins():
    assert (
        choose_best([summary(9, 0.2, 0), summary(10, 0.2, 0)], "stft_l2")["checkpoint"] == "ckpt/ckpt.9.pth"
    )


def test_what_cannot_be_chosen_by_is_said():
    with pytest.raises(UserError, match=r"'loss'; expected one of stft_l2"):
        choose_best([summary(1, 0.2, 0)], "loss")
    with pytest.raises(UserError, match=r"no snr_db of the refined estimate"):
        choose_best([summary(1, 0.2, 0)], "snr_db")
    with pytest.raises(UserError, match=r"EVAL.CHECKPOINT all first"):
        choose_best([], "stft_l2")


def fill(folder: Path, *numbers: int) -> None:
    (folder / "ckpt").mkdir()
    for number in numbers:
        (folder / f"ckpt/ckpt.{number}.pth").write_bytes(b"%d" % number)


def test_checkpoints_come_in_the_order_of_training(tmp_path):
    fill(tmp_path, 100, 20, 3)
    (tmp_path / "ckpt/.ckpt.4.pth.tmp").touch()
    (tmp_path / "ckpt/ckpt.old.pth").touch()
    assert [p.name for p in numbered_checkpoints(tmp_path)] == ["ckpt.3.pth", "ckpt.20.pth", "ckpt.100.pth"]


@pytest.mark.parametrize("links", [True, False])
def test_best_is_linked_or_copied_and_relinked(tmp_path, monkeypatch, links):
    fill(tmp_path, 3, 20)

    def refuse(*args: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    for by, number in (("stft_l2", 3), ("si_sdr_db", 20)):
        choice = choose_best([summary(3, 0.2, 3.0), summary(20, 0.3, 4.0)], by)
        link_best(tmp_path, choice)
        assert (tmp_path / "best.pth").is_symlink() == links
        assert (tmp_path / "best.pth").read_bytes() == b"%d" % number
        assert load(tmp_path / "best.json") == choice
        assert best_checkpoint(tmp_path) == tmp_path / f"ckpt/ckpt.{number}.pth"
    assert not list(tmp_path.glob(".best*"))


def test_missing_ones_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(
        UserError, match=r"nowhere does not exist; train first: python main.py --run-type train"
    ):
        best_checkpoint(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no checkpoints \(ckpt/ckpt.<n>.pth\); train first"):
        numbered_checkpoints(tmp_path)
    fill(tmp_path, 3)
    with pytest.raises(UserError, match=r"validate first: python main.py --run-type eval"):
        best_checkpoint(tmp_path)
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(UserError, match=r"best.json is damaged"):
        best_checkpoint(tmp_path)
