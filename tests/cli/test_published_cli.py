"""The paper's commands over the miniature published trees: train, validate, test."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from published import SCENES, broken_rirs, make_published_tree
from small_config import REPO, small_overrides

import main
from audio_separation.scenes.layout import DatasetPaths

# the miniature of everything that the configs make large
TINY = {
    "SEPARATOR__CHANNELS": "[4,4,4,4,4]",
    "PASSIVE__NUM_STEPS": 2,
    "PASSIVE__VAL_EVERY": 2,
    "PASSIVE__VAL_SAMPLES": 8,
    "NUM_UPDATES": 2,
    "TRAIN__CHECKPOINT_EVERY": 1,
}
NAMES = {  # what the archives hold is in the configs: only where the data lies is overridden
    "mp3d": ("near_target_unheard_mp3d", "valUnheard_100episodes", "testUnheard_1000episodes"),
    "replica": ("near_target_unheard_replica", "valUnheard", "testUnheard"),
}


@dataclass(frozen=True)
class Trained:
    """A tree and a model dir that was trained on it."""

    paths: DatasetPaths
    model_dir: Path

    def words(self, run_type: str, exp_config: str, model_dir: Path, **changes: object) -> list[str]:
        options = ["--run-type", run_type, "--exp-config", f"configs/{exp_config}.yaml"]
        return [*options, "--model-dir", str(model_dir), *small_overrides(self.paths, **{**TINY, **changes})]

    def evaluate(self, kind: str, paths: DatasetPaths, **changes: object) -> int:
        name = f"{kind}/{NAMES[paths.dataset][0]}"
        return main.main(Trained(paths, self.model_dir).words("eval", name, self.model_dir, **changes))


@pytest.fixture(scope="module", params=["mp3d", "replica"])
def trained(request, tmp_path_factory) -> Trained:
    """Separators, then the agent, by the published configs; replica's responses have 44.1 kHz and ``-`` names."""
    root, dataset = tmp_path_factory.mktemp("published"), request.param
    paths = make_published_tree(root, dataset, "-" if dataset == "replica" else "_", image_size=32)
    run = Trained(paths, root / "near")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPO)
        passive = run.words("train", f"pretrain_passive_{dataset}", root / "passive")
        assert main.main(passive) == 0
        changes = {"TRAIN__PASSIVE_CHECKPOINT": root / "passive"}
        assert main.main(run.words("train", f"train/near_target_{dataset}", run.model_dir, **changes)) == 0
    return run


def test_trains_validates_and_tests_end_to_end(trained: Trained, capsys) -> None:
    _, val, test = NAMES[trained.paths.dataset]
    settings = json.loads((trained.model_dir / "run.json").read_text())["config"]
    assert settings["TASK.FORWARD_RULE"] == "published" and settings["AUDIO.MODE"] == "paper"
    assert settings["SEPARATOR.VARIANT"] == "paper" and settings["DATASET"] == trained.paths.dataset
    steps = [json.loads(x)["step"] for x in (trained.model_dir / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2]

    assert trained.evaluate("val", trained.paths) == 0
    validated = sorted((trained.model_dir / "eval" / f"{val}_policy").iterdir())
    assert (
        len(validated) == 2 and (trained.model_dir / "best.pth").exists()
    )  # both checkpoints, the best linked
    assert trained.evaluate("test", trained.paths) == 0
    assert "6 episodes of " + test in capsys.readouterr().out
    (folder,) = (trained.model_dir / "eval" / f"{test}_policy").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["episodes"] == 6 and summary["skipped"]["rirs"] == 0
    played = json.loads((folder / "episodes.json").read_text())
    assert SCENES[trained.paths.dataset]["test"] in json.dumps(played)


@pytest.mark.parametrize("trained", ["mp3d"], indirect=True)
def test_unreadable_responses_stop_or_are_counted(trained: Trained, tmp_path: Path, capsys) -> None:
    broken = make_published_tree(tmp_path, broken=True, image_size=32)
    changes = {"EVAL__NAME": "broken", "EVAL__CHECKPOINT": "latest", "EVAL__REPORT_EPISODES": 0}
    assert trained.evaluate("test", broken, **changes) == 2
    error = capsys.readouterr().err
    empty = broken_rirs(broken)[6]  # of the test scene
    assert f"error: {empty} is empty (0 bytes)" in error and error.count("\n") == 1
    assert not (trained.model_dir / "eval" / "broken").exists()

    assert trained.evaluate("test", broken, AUDIO__MISSING_RIR="skip", **changes) == 0
    shown = capsys.readouterr().out
    (folder,) = (trained.model_dir / "eval" / "broken").iterdir()
    skipped = json.loads((folder / "summary.json").read_text())["skipped"]
    assert skipped["rirs"] >= 1 and f"{skipped['rirs']} responses are missing" in shown


@pytest.mark.parametrize("trained", ["mp3d"], indirect=True)
def test_half_a_download_is_said_and_can_be_used(trained: Trained, tmp_path: Path, capsys) -> None:
    # a second training scene of which the archive has datapoints, but no responses are there yet
    paths = make_published_tree(tmp_path, image_size=32)
    points = paths.passive("train") / "sT4fr6TAbpF.pkl"
    (points.parent / "E9uDoFAP3SH.pkl").write_bytes(
        points.read_bytes().replace(b"sT4fr6TAbpF", b"E9uDoFAP3SH")
    )
    half = Trained(paths, tmp_path / "run")
    words = half.words("train", "pretrain_passive_mp3d", half.model_dir)
    assert main.main(words) == 2
    error = capsys.readouterr().err
    assert re.search(
        r"1 of 2 scenes lack data on disk, such as E9uDoFAP3SH: .*give DATA\.SCENES present", error
    )
    assert not half.model_dir.exists()
    assert main.main([*words, "DATA.SCENES", "present"]) == 0
    assert "1 of 2 scenes are on disk; left out: E9uDoFAP3SH" in capsys.readouterr().out


@pytest.mark.parametrize("trained", ["mp3d"], indirect=True)
def test_episodes_of_another_split_are_refused(trained: Trained, tmp_path: Path, capsys) -> None:
    paths = make_published_tree(tmp_path, image_size=32)
    content = paths.active("testUnheard_1000episodes") / "content"
    (content / "pa4otMbVnkk.json.gz").unlink()
    other = paths.active("valUnheard_100episodes") / "content" / "x8F5xyUWy9e.json.gz"
    (content / other.name).write_bytes(other.read_bytes())
    assert trained.evaluate("test", paths, EVAL__CHECKPOINT="latest") == 2
    assert (
        "plays in scene x8F5xyUWy9e, which the published splits of mp3d put into 'val'"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("trained", ["mp3d"], indirect=True)
def test_a_scripted_agent_needs_no_views(trained: Trained, tmp_path: Path, capsys) -> None:
    paths = make_published_tree(tmp_path, image_size=8)
    for scene in SCENES["mp3d"].values():
        paths.observations(scene).unlink()
    changes = {"EVAL__CHECKPOINT": "latest", "EVAL__REPORT_EPISODES": 0, "EVAL__NAME": "blind"}
    assert trained.evaluate("test", paths, **changes) == 2
    assert "scene_observations/mp3d/pa4otMbVnkk.pkl not found" in capsys.readouterr().err
    assert trained.evaluate("test", paths, EVAL__AGENT="rotate", **changes) == 0
