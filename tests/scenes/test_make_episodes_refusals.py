"""scripts/make_episodes.py: what it refuses, in one sentence, and what it leaves alone."""

from __future__ import annotations

import re
import shutil

import pytest
from episode_runs import active, hashes, run

from audio_separation.scenes import schema
from audio_separation.scenes.layout import DatasetPaths

pytestmark = pytest.mark.usefixtures("commit_abc")


# ---- refusing -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options, message",
    [
        (("near", "--sources", 5), r"of the scenes cannot hold .* \(5 sources need clips of 5 classes"),
        (("near", "--sources", 7), r"\(scene tiny_00\d: 7 sources need as many source nodes, it has 6\)"),
        (("far", "--distance", 6, 9), r"3 of the scenes .*no node lies 6\.0 to 9\.0 m from a source"),
        (("near", "--scenes", "nowhere"), r"scene nowhere of dataset homes is in no split train, valHeard"),
        (("near", "--scenes", "tiny_000", "--splits", "val"), r"tiny_000 .* is in no split valHeard, valUn"),
        (("near", "--leave-out", "tiny_000"), r"no scene is left for split train: leave it out of --splits"),
        (("near", "--splits", "dev"), r"no split 'dev'; --kind near has train, valHeard, valUnheard, test"),
        (("near", "--num", "0"), r"--num 0: expected a number from 1, or split=number"),
        (("near", "--num", "dev=3"), r"no split 'dev'"),
        (("near", "--distance", 3, 1), r"--distance 3\.0 1\.0: expected the least and the most, from 0 m"),
        (("near", "--sources", 0), r"--sources is 1 or more"),
        (("near", "--speed", 1), r"--speed, --pause and --steps are of moving sources"),
        (("near", "--moving", "all", "--speed", 0), r"the speed should be above 0"),
        (("near", "--near-fraction", 0.5), r"--near-fraction is an option of --kind passive"),
        (("passive", "--moving", "all"), r"leave them out of --kind passive"),
        (("passive", "--spacing", 1), r"leave them out of --kind passive"),
        (("near", "--corpus", "nothing"), r"nothing/min20s_clips/train_preprocessed is missing"),
    ],
)
def test_mistakes_are_one_sentence(
    own_data: DatasetPaths,
    capsys: pytest.CaptureFixture,
    options: tuple,
    message: str,
) -> None:
    assert active(own_data, *options) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("make_episodes: ")]
    assert len(lines) == 1 and re.search(message, lines[0]), lines


def test_unknown_dataset_name_and_corpus(own_data: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    assert run(own_data, "--dataset", "nowhere", "--name", "a", "--kind", "passive") == 2
    assert "the metadata of dataset nowhere not found at" in capsys.readouterr().err
    assert run(own_data, "--name", "../a", "--kind", "near") == 2
    assert "--name '../a' should be the name of one folder" in capsys.readouterr().err
    (own_data.data_root / "audio_data").unlink()
    assert active(own_data, "near") == 2
    assert "holds 0 corpora; name one with --corpus and say where with --data" in capsys.readouterr().err
    for name in ("a", "b"):
        (own_data.data_root / "audio_data" / name / "min20s_clips" / "train_preprocessed").mkdir(parents=True)
    assert active(own_data, "near") == 2
    assert "holds 2 corpora: a, b; name one with --corpus" in capsys.readouterr().err
    assert not (own_data.data_root / "active_datasets").exists()


def test_scenes_without_splits_need_one_kind(own_data: DatasetPaths, capsys: pytest.CaptureFixture) -> None:
    dataset = DatasetPaths(own_data.data_root, own_data.data_root / "ss", "own", "synthetic")
    shutil.copytree(own_data.metadata_root, dataset.metadata_root)
    (dataset.metadata_root / "splits.json").unlink()
    assert active(dataset, "near", "--scenes", "tiny_000") == 2
    assert "so it is unknown which of --scenes belong to which" in capsys.readouterr().err


def test_what_another_recipe_made_is_left_alone(
    own_data: DatasetPaths, capsys: pytest.CaptureFixture
) -> None:
    assert active(own_data, "near", "--num", 2) == 0
    before = hashes(own_data.active_root)
    cases = [
        (
            ("near", "--num", 2, "--seed", 1),
            "was made with seed 0, not 1; give another --name, or --overwrite",
        ),
        (("far", "--num", 2), "was made with kind near, not far"),
        (("near", "--num", 3, "--splits", "val"), "was made with per_scene of valHeard 2, not 3"),
        (("near", "--num", 2, "--distance", 0, 1), "was made with distance_m 0.0, 0.0, not 0.0, 1.0"),
        (("near", "--num", 2, "--moving", "all"), "was made with motion None, not {'who': 'all'"),
    ]
    for options, message in cases:
        assert active(own_data, *options) == 2
        assert message in capsys.readouterr().err
    assert hashes(own_data.active_root) == before


def test_what_it_did_not_make_is_never_overwritten(
    tiny: DatasetPaths, own_data: DatasetPaths, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(tiny.active_root, own_data.active_root)
    before = hashes(own_data.active_root)
    for note in (None, '{"corpus": "synthetic"}', "{"):
        if note is not None:
            (own_data.active_root / "made_with.json").write_text(note)
        for options in ((), ("--overwrite",)):
            assert active(own_data, "near", *options) == 2
            assert "holds a dataset that make_episodes did not make" in capsys.readouterr().err
    (own_data.active_root / "made_with.json").unlink()
    assert hashes(own_data.active_root) == before


def test_a_file_against_the_schema_is_not_left_behind(
    own_data: DatasetPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "validate_active", lambda tree: ["$ is wrong"])
    with pytest.raises(RuntimeError, match=r"tiny_000\.json\.gz was written against its schema: \$ is wrong"):
        active(own_data, "near", "--num", 1)
    assert not list(own_data.active_root.rglob("content/*.gz"))
