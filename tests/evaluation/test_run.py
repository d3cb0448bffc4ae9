"""The evaluation command: what it writes, what it keeps, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from eval_fakes import TEST, VAL, NoStop, eval_config, load, run, write_checkpoint

from audio_separation.config import get_config
from audio_separation.errors import UserError
from audio_separation.training.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def model_dir(trained, tmp_path):
    (tmp_path / "ckpt").symlink_to(trained / "ckpt")
    return tmp_path


def test_validation_judges_all_and_links_the_best(judged):
    folder = judged / "eval/valUnheard_policy"
    assert sorted(p.name for p in folder.iterdir()) == ["ckpt.10", "ckpt.2"]
    scores = {
        n: load(folder / f"ckpt.{n}/summary.json")["methods"]["refined"]["stft_l2"]["mean"] for n in (2, 10)
    }
    best = load(judged / "best.json")
    assert best["value"] == min(scores.values()) and best["split"] == "valUnheard"
    assert [c["value"] for c in best["candidates"]] == [scores[2], scores[10]]
    assert (judged / "best.pth").read_bytes() == (judged / best["checkpoint"]).read_bytes()
    # the test went on with it
    tested = load(next((judged / "eval/testUnheard_policy").glob("*/summary.json")))
    assert tested["checkpoint"] == best["checkpoint"]


def test_summary_is_the_mean_of_the_episodes(judged):
    folder = next((judged / "eval/testUnheard_policy").iterdir())
    summary, episodes = load(folder / "summary.json"), load(folder / "episodes.json")["episodes"]
    assert summary["episodes"] == len(episodes) == 3
    assert summary["skipped"] == {"silent_seconds": 0, "seconds": 15, "rirs": 0, "rir_names": []}
    for method, metrics in summary["methods"].items():
        for metric, score in metrics.items():
            if method == "silence" and metric != "stft_l2":
                assert score == {"mean": None, "ci95": None, "n": 0}
                continue
            means = [np.mean(record["scores"][method][metric]) for record in episodes]
            assert score["mean"] == pytest.approx(np.mean(means)) and score["n"] == 3
    assert summary["methods"]["silence"]["stft_l2"]["mean"] == pytest.approx(0.72, abs=1e-6)
    assert summary["record"]["config"]["DATA.SPLIT"] == "testUnheard" and summary["record"]["seed"] == 0
    assert len(episodes[0]["nodes"]) == 5 and len(episodes[0]["actions"]) == 4
    assert episodes[0]["target_class"] == episodes[0]["sounds"][0].split("_")[0]


def test_finished_results_are_kept_and_others_refused(tiny, model_dir, capsys):
    # NUM_PROCESSES, SELECT_BY and the like change no score
    assert run(eval_config(tiny), model_dir) == 0
    files = sorted(model_dir.glob("eval/*/*/*.json"))
    before = [p.stat().st_mtime_ns for p in files]
    assert len(files) == 4
    assert run(eval_config(tiny, NUM_PROCESSES=1, EVAL__SELECT_BY="si_sdr_db"), model_dir) == 0
    assert [p.stat().st_mtime_ns for p in files] == before
    assert capsys.readouterr().out.count("finished before, kept") == 2
    assert load(model_dir / "best.json")["metric"] == "si_sdr_db"  # chosen anew all the same
    other = {"EVAL__REFINE_STEPS": 1, "EVAL__CHECKPOINT": "latest"}
    with pytest.raises(UserError, match=r"EVAL.REFINE_STEPS is 2 there, 1 now.*EVAL.NAME"):
        run(eval_config(tiny, **other), model_dir)
    assert run(eval_config(tiny, EVAL__NAME="short", **other), model_dir) == 0
    assert (model_dir / "eval/short/ckpt.10/summary.json").exists()


def test_other_weights_under_the_same_name_are_refused(tiny, tmp_path):
    config = eval_config(tiny, DATA__MAX_EPISODES=1)
    write_checkpoint(tmp_path / "ckpt/ckpt.1.pth", config, 1)
    run(config, tmp_path)
    write_checkpoint(tmp_path / "ckpt/ckpt.1.pth", config, 2)
    with pytest.raises(UserError, match=r"ckpt/ckpt.1.pth had other weights"):
        run(config, tmp_path)


def test_checkpoint_knows_its_own_sizes(tiny, model_dir):
    """The evaluation's config may be silent about networks; what it says must fit."""
    words = {"DATA.ROOT": tiny.data_root, "DATA.SOUND_SPACES": tiny.sound_spaces_root, "DEVICE": "cpu"}
    words.update({"DATA.MAX_EPISODES": 1, "TASK.EPISODE_STEPS": 2, "EVAL.REFINE_STEPS": 1, "VERBOSE": False})
    words.update({"EVAL.CHECKPOINT": str(model_dir / "ckpt/ckpt.2.pth")})
    flat = [str(word) for pair in words.items() for word in pair]
    assert run(get_config(VAL, flat), model_dir) == 0
    record = load(model_dir / "eval/valUnheard_policy/ckpt.2/summary.json")["record"]["config"]
    assert record["SEPARATOR.CHANNELS"] == [8, 8, 8, 8, 8] and record["POLICY.HIDDEN"] == 16
    assert record["TASK.EPISODE_STEPS"] == 2
    with pytest.raises(UserError, match=r"POLICY.HIDDEN is 24 here, 16 in the checkpoint"):
        run(get_config(VAL, [*flat, "POLICY.HIDDEN", "24", "EVAL.NAME", "wide"]), model_dir)


def test_a_stopped_evaluation_leaves_nothing_half_done(tiny, model_dir):
    class StopAtSecondLook(NoStop):
        looks = 0

        @property
        def signal(self):
            self.looks += 1
            return 15 if self.looks > 1 else None

    stop = StopAtSecondLook()
    assert run(eval_config(tiny, NUM_PROCESSES=1), model_dir, stop=stop) == 143
    assert stop.looks == 2 and not list(model_dir.rglob("*.json"))


def test_what_is_no_agent_is_refused(tiny, model_dir, trained, tmp_path):
    content = load_checkpoint(trained / "ckpt/ckpt.2.pth")
    for change, message in (
        ({"kind": "passive"}, "is of kind 'passive', expected one of the active training"),
        ({"classes": ["music"]}, "was trained on 1 classes that are not the corpus' 4"),
    ):
        path = tmp_path / "other.pth"
        save_checkpoint(path, {**content, **change})
        with pytest.raises(UserError, match=message):
            run(eval_config(tiny, EVAL__CHECKPOINT=path), model_dir)
    with pytest.raises(
        UserError, match=r"EVAL.CHECKPOINT is 'bset'; expected all, best, latest or an existing"
    ):
        run(eval_config(tiny, EVAL__CHECKPOINT="bset"), model_dir)
    with pytest.raises(UserError, match=r"EVAL.SELECT_BY is 'speed'"):
        run(eval_config(tiny, EVAL__SELECT_BY="speed"), model_dir)
    with pytest.raises(UserError, match=r"validate first"):
        run(eval_config(tiny, TEST), model_dir)


def test_missing_responses_are_counted(tiny, model_dir, tmp_path):
    """A scene as WAV tree that lacks one response: skipping says which and how many."""
    from tiny import write_wav_tree

    spaces = tmp_path / "spaces"
    spaces.mkdir()
    for name in ("metadata", "scene_observations"):
        (spaces / name).symlink_to(tiny.sound_spaces_root / name)
    write_wav_tree(spaces / "binaural_rirs/homes", "tiny_001")
    config = {"DATA__SOUND_SPACES": spaces, "AUDIO__RIR_STORE": "wav", "EVAL__CHECKPOINT": "latest"}
    config.update(EVAL__AGENT="stand", DATA__MAX_EPISODES=1)
    run(eval_config(tiny, **config, EVAL__NAME="whole"), model_dir)
    record = load(model_dir / "eval/whole/ckpt.10/episodes.json")["episodes"][0]
    azimuth, receiver = -record["rotations_deg"][0] % 360, record["nodes"][0]
    source = record["source_nodes"][0]
    (spaces / f"binaural_rirs/homes/tiny_001/{azimuth}/{receiver}_{source}.wav").unlink()
    with pytest.raises(UserError, match=rf"{receiver}_{source}.wav"):
        run(eval_config(tiny, **config), model_dir)
    run(eval_config(tiny, **config, AUDIO__MISSING_RIR="skip"), model_dir)
    summary = load(model_dir / "eval/valUnheard_stand/ckpt.10/summary.json")
    assert summary["skipped"]["rirs"] == 1
    assert summary["skipped"]["rir_names"] == [f"tiny_001/{azimuth}/{receiver}/{source}"]
    # without its image the target has no binaural score, but its dry sound is there to be missed
    assert summary["methods"]["passive"]["bin_si_sdr_db"] == {"mean": None, "ci95": None, "n": 0}
    assert summary["methods"]["passive"]["si_sdr_db"]["n"] == 1
