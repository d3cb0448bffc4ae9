"""Judging the synthesizer agent: what is left, that it is the same however it is played, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import soundfile
import torch
from small_config import NoStop, train
from synth_worlds import HOP, RATE, make_synth_data, make_table, synth_config

from audio_separation.audio.synths import make_synth
from audio_separation.envs.synth.env import SynthEnv
from audio_separation.errors import UserError
from audio_separation.evaluation.adopt import adopt_keys
from audio_separation.evaluation.run import evaluate
from audio_separation.evaluation.stats import mean_ci
from audio_separation.evaluation.synth.scores import episode_scores
from audio_separation.training.checkpoint import load_checkpoint, save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import plain_config

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
# the small config sets neither; so an evaluation takes them from the checkpoint
TRAINED = {"SYNTH__REWARD": "linear", "SYNTH__CLIP": 3.0, "VERBOSE": False}
SPLIT = "test_mixed_random+corpus"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_synth_data(tmp_path_factory.mktemp("synth"))


@pytest.fixture(scope="module")
def model_dir(root, tmp_path_factory):
    """A finished training with ckpt.64 and ckpt.128, where the policy and the scripted agents were judged."""
    folder = tmp_path_factory.mktemp("model") / "run"
    assert train(synth_config(root, **TRAINED), folder) == 0
    for agent in ("policy", "hold", "random", "greedy"):
        assert run(root, folder, EVAL__AGENT=agent) == 0
    return folder


def run(root, folder, stop_after=float("inf"), **changes):
    config = synth_config(root, **{"VERBOSE": False, **changes})
    return evaluate(config, str(folder), CPU, NoStop(stop_after))


def best(model_dir):
    return json.loads((model_dir / "best.json").read_text())["checkpoint"]


def stem(model_dir, agent):
    return best(model_dir).split("/")[1][: -len(".pth")] if agent == "policy" else agent


def read(model_dir, agent, name=None):
    place = model_dir / "eval" / (name or f"{SPLIT}_{agent}") / stem(model_dir, agent)
    return json.loads((place / "summary.json").read_text()), json.loads(
        (place / "episodes.json").read_text()
    )["episodes"]


def untrained(model_dir, folder):
    """A copy of the training without its results."""
    shutil.copytree(model_dir, folder, symlinks=True, ignore=shutil.ignore_patterns("eval"))
    return folder


# ---- what it leaves -------------------------------------------------------------------------------------
def test_what_an_evaluation_leaves(model_dir):
    summary, records = read(model_dir, "policy")
    assert (summary["task"], summary["split"], summary["agent"]) == ("synth", "test", "policy")
    assert summary["checkpoint"] == best(model_dir) and summary["episodes"] == 4
    assert [record["episode"] for record in records] == [0, 1, 2, 3]
    assert list(summary["methods"]) == ["policy", "nearest"]
    for method, scores in summary["methods"].items():
        for metric, estimate in scores.items():
            assert estimate == mean_ci(record["scores"][method][metric] for record in records)._asdict()
    for record in records:
        count = len(record["actions"])
        assert all(
            len(record[key]) == count + 1 for key in ("params", "target_params", "rmse", "nearest_rmse")
        )
        assert (
            (record["piece"] == "sweep_test")
            == (record["mode"] == "corpus")
            == (record["target_params"][0] is None)
        )


def test_scores_by_hand():
    scores = episode_scores(
        np.array([0.4, 0.3, 0.2, 0.6, 0.1]), np.array([0.1, 0.2, 0.15, 0.55, 0.1]), np.array([1.0, 2.0])
    )
    assert scores == pytest.approx({"rmse": 0.32, "late_rmse": 0.3, "near": 0.8, "reward": 1.5})


@pytest.mark.parametrize("agent", ["policy", "random", "greedy"])
def test_records_can_be_played_again(root, model_dir, agent):
    changes = TRAINED if agent == "policy" else {}  # its own settings were adopted
    env = SynthEnv(synth_config(root, **changes))
    for record in read(model_dir, agent)[1]:
        _, info = env.reset(options={"episode": record["episode"]})
        infos, rewards, over = [info], [], False
        for action in record["actions"]:
            assert not over
            _, reward, _, over, info = env.step(np.array(action))
            infos.append(info)
            rewards.append(reward)
        assert over
        np.testing.assert_allclose([i["rmse"] for i in infos], record["rmse"], atol=1e-4)
        np.testing.assert_allclose([i["params"] for i in infos], record["params"], atol=1e-4)
        scores = record["scores"][agent]
        assert scores["reward"] == pytest.approx(np.mean(rewards))
        assert scores["rmse"] == pytest.approx(np.mean([i["rmse"] for i in infos[1:]]))
        assert record["scores"]["nearest"]["rmse"] <= scores["rmse"] + 1e-9


def test_agents_rank_as_they_must(model_dir):
    rmse = {a: read(model_dir, a)[0]["methods"][a]["rmse"]["mean"] for a in ("hold", "random", "greedy")}
    assert rmse["greedy"] < min(rmse["hold"], rmse["random"])
    for record in read(model_dir, "hold")[1]:
        assert len({tuple(params) for params in record["params"]}) == 1
    drawn = [record["actions"][:6] for record in read(model_dir, "random")[1]]
    assert all(
        one != other for n, one in enumerate(drawn) for other in drawn[:n]
    )  # every episode its own chance


@pytest.mark.parametrize(("agent", "processes"), [("policy", 1), ("policy", 3), ("random", 1), ("greedy", 3)])
def test_scores_do_not_depend_on_how_many_play_at_once(root, model_dir, tmp_path, agent, processes):
    folder = untrained(model_dir, tmp_path / "run")
    assert run(root, folder, EVAL__AGENT=agent, NUM_PROCESSES=processes) == 0
    for one, other in zip(read(folder, agent)[1], read(model_dir, agent)[1]):
        assert one["actions"] == other["actions"] and one["params"] == other["params"]
        for method, scores in other["scores"].items():
            assert one["scores"][method] == pytest.approx(scores, abs=1e-9)


def test_scripted_agents_need_no_training(root, tmp_path):
    assert run(root, tmp_path / "new", EVAL__AGENT="greedy", EVAL__EPISODES=1) == 0
    assert not list((tmp_path / "new").rglob("*.pth"))
    summary, _ = read(tmp_path / "new", "greedy")
    assert summary["trained_config"] is None and summary["checkpoint"] == "greedy"


# ---- finished, stopped, several -------------------------------------------------------------------------
def test_a_finished_result_is_kept_and_another_refused(root, model_dir, capsys):
    place = model_dir / f"eval/{SPLIT}_policy" / stem(model_dir, "policy") / "summary.json"
    before = place.stat().st_mtime_ns
    capsys.readouterr()
    assert run(root, model_dir, NUM_PROCESSES=4, SB3__LR=0.5) == 0
    assert "finished before, kept" in capsys.readouterr().out and place.stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"SYNTH.STEP_SIZE is 0.1 there, 0.2 now"):
        run(root, model_dir, SYNTH__STEP_SIZE=0.2)
    with pytest.raises(UserError, match=r"EVAL.EPISODES is 4 there, 5 now"):
        run(root, model_dir, EVAL__EPISODES=5)
    with pytest.raises(UserError, match=r"SEED is 0 there, 1 now"):
        run(root, model_dir, EVAL__AGENT="hold", SEED=1)


def test_all_checkpoints_and_one_that_is_stopped(root, model_dir, tmp_path):
    folder = untrained(model_dir, tmp_path / "run")
    assert run(root, folder, stop_after=5, EVAL__CHECKPOINT="all") == 143
    assert not list(folder.glob("eval/*/*/summary.json"))
    assert run(root, folder, EVAL__CHECKPOINT="all") == 0
    found = [json.loads(path.read_text()) for path in folder.glob("eval/*/*/summary.json")]
    assert {s["checkpoint"] for s in found} == {"ckpt/ckpt.64.pth", "ckpt/ckpt.128.pth"}
    assert len({s["checkpoint_sha256"] for s in found}) == 2


# ---- settings of the checkpoint -------------------------------------------------------------------------
def test_settings_come_from_the_checkpoint_unless_they_are_given(root, model_dir, capsys):
    config = read(model_dir, "policy")[0]["record"]["config"]
    assert (config["SYNTH.REWARD"], config["SYNTH.CLIP"]) == ("linear", 3.0)
    assert run(root, model_dir, EVAL__NAME="given", SYNTH__REWARD="cubic") == 0
    config = read(model_dir, "policy", "given")[0]["record"]["config"]
    assert (config["SYNTH.REWARD"], config["SYNTH.CLIP"]) == ("cubic", 3.0)
    assert "note:" not in capsys.readouterr().out
    # what the weights are shaped by is taken also where it is given, and that is said
    bent = {
        "SB3__HIDDEN": "[9]",
        "SB3__ALGORITHM": "SAC",
        "SYNTH__ACTIONS": "joint",
        "SYNTH__FEATURES": "['all']",
    }
    assert run(root, model_dir, EVAL__NAME="bent", **bent) == 0
    said = capsys.readouterr().out
    assert (
        "note: SYNTH.ACTIONS is the checkpoint's, 'steps', not 'joint'" in said and said.count("note:") == 4
    )
    assert read(model_dir, "policy", "bent")[1] == read(model_dir, "policy")[1]
    # a scripted agent has learnt with no settings
    assert read(model_dir, "greedy")[0]["record"]["config"]["SYNTH.CLIP"] == 5.0


def test_adopted_words_that_read_as_numbers_stay_words(root):
    stored = {
        **plain_config(synth_config(root)),
        "SYNTH.CORPUS_AUDIO": "2024",
        "SYNTH.SOURCE": "007",
        "SYNTH.CLIP": 2.5,
    }
    adopted = adopt_keys(synth_config(root), stored, ("SYNTH.",), ("SYNTH.TABLE",)).SYNTH
    assert (adopted.CORPUS_AUDIO, adopted.SOURCE, adopted.CLIP) == ("2024", "007", 2.5)
    kept = adopt_keys(
        synth_config(root), {**stored, "SYNTH.TABLE": "t", "OSC.SECONDS": 3.0}, ("SYNTH.",), ("SYNTH.TABLE",)
    )
    assert (kept.SYNTH.TABLE, kept.OSC.SECONDS, kept.is_frozen()) == ("", 0.0, True)


# ---- reports --------------------------------------------------------------------------------------------
def sounds(place, number):
    found = {path.stem: soundfile.read(path) for path in sorted((place / f"episode_{number}").glob("*.wav"))}
    assert {rate for _, rate in found.values()} == {RATE}
    return {name: wave for name, (wave, _) in found.items()}


def same_up_to_gain(one, other):
    return np.corrcoef(one, other)[0, 1] > 0.9999


def test_a_report_of_random_targets_plays_both_sounds(root, model_dir):
    changes = {"EVAL__AGENT": "greedy", "SYNTH__TARGETS": "mixed_random", "EVAL__REPORT_EPISODES": 2}
    assert run(root, model_dir, **changes) == 0
    summary, records = read(model_dir, "greedy", "test_mixed_random_greedy")
    place = model_dir / "eval/test_mixed_random_greedy/greedy/report"
    page = (place / "report.html").read_text()
    assert page.count("<audio") == 6 and "greedy" in page and (place / "training.png").exists()
    for src in page.split('src="')[1:]:
        assert (place / src.split('"')[0]).is_file()
    synth, shown = (
        make_synth("sine", RATE),
        [r for r in records if (place / f"episode_{r['episode']}").exists()],
    )
    assert len(shown) == 2
    for record in shown:
        found = sounds(place, record["episode"])
        length = len(record["params"]) * 4 * HOP
        assert len(found["agent"]) == len(found["target"]) == length and found["both"].shape == (length, 2)
        assert same_up_to_gain(found["agent"], synth.render_path(np.array(record["params"]), 4 * HOP))
        assert same_up_to_gain(found["target"], synth.render_path(np.array(record["target_params"]), 4 * HOP))
        np.testing.assert_array_equal(found["both"].T, [found["target"], found["agent"]])
    assert summary["methods"]["greedy"]["rmse"]["n"] == 4


def test_a_report_of_a_recording_plays_it_where_it_is_at_hand(root, model_dir, tmp_path):
    base = {"EVAL__AGENT": "greedy", "SYNTH__TARGETS": "corpus", "EVAL__EPISODES": 2}
    assert run(root, model_dir, **base, EVAL__REPORT_EPISODES=1) == 0
    place = model_dir / "eval/test_corpus_greedy/greedy/report"
    page = (place / "report.html").read_text()
    assert "SYNTH.CORPUS_AUDIO does not say where the recordings are" in page and page.count("<audio") == 1
    # the recordings are found later: the scores stay, the report is made anew
    shutil.rmtree(place)
    base.update(EVAL__REPORT_EPISODES=2, SYNTH__CORPUS_AUDIO=tmp_path)
    with pytest.raises(
        UserError, match=r"the recording .*sweep_test\.wav is not there, which the report plays"
    ):
        run(root, model_dir, **base)
    assert not place.exists()
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, round(1.5 * RATE))
    soundfile.write(tmp_path / "sweep_test.wav", wave, RATE)
    assert run(root, model_dir, **base) == 0
    for record in read(model_dir, "greedy", "test_corpus_greedy")[1]:
        begin = record["start"] * 4 * HOP
        target = sounds(place, record["episode"])["target"]
        assert same_up_to_gain(target, wave[begin : begin + len(target)])


# ---- what is refused ------------------------------------------------------------------------------------
def test_an_unknown_agent_and_drawn_actions(root, model_dir):
    with pytest.raises(
        UserError, match="EVAL.AGENT is 'oracle'; expected one of policy, hold, random, greedy"
    ):
        run(root, model_dir, EVAL__AGENT="oracle")
    with pytest.raises(UserError, match="EVAL.DETERMINISTIC False is not offered for TASK.NAME synth"):
        run(root, model_dir, EVAL__DETERMINISTIC=False)
    two = World(rank=0, size=2, local_rank=0, local_size=2, device=torch.device("cpu"))
    with pytest.raises(UserError, match="TASK.NAME synth is evaluated by one process, found 2"):
        evaluate(synth_config(root), str(model_dir), two, NoStop())


def test_no_training(root, tmp_path):
    with pytest.raises(
        UserError, match=r"has no best.pth; train first: python main.py .*configs/synth/fm3.yaml"
    ):
        run(root, tmp_path)
    with pytest.raises(UserError, match=r"EVAL.CHECKPOINT is 'ckpt/ckpt.9.pth'; expected all, best, latest"):
        run(root, tmp_path, EVAL__CHECKPOINT="ckpt/ckpt.9.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "dqn"}, "is of kind 'dqn', expected one of TRAINER sb3; give its model dir"),
        ({"kind": None}, "is of no known kind, expected one of TRAINER sb3"),
        ({"kind": "sb3 state"}, "is of kind 'sb3 state', expected"),
        ({"task": "step_signal"}, "was trained on TASK.NAME 'step_signal', this config is of 'synth'"),
    ],
)
def test_checkpoints_of_another_kind_or_task(root, model_dir, tmp_path, changes, message):
    content = {**load_checkpoint(model_dir / best(model_dir)), **changes}
    path = tmp_path / "other.pth"
    save_checkpoint(path, content)
    with pytest.raises(UserError, match=rf"other\.pth {message}"):
        run(root, model_dir, EVAL__CHECKPOINT=path)


def test_a_checkpoint_of_another_table(root, model_dir, tmp_path):
    make_table(tmp_path, subdivisions=5)
    with pytest.raises(
        UserError, match=r"was trained with the lookup table \w{12}, found \w{12}; give that one"
    ):
        run(root, model_dir, EVAL__NAME="other", SYNTH__TABLE=tmp_path)
    # the same table at another place will do
    shutil.copytree(root / "synth/tables/sine", tmp_path / "moved")
    assert run(root, model_dir, EVAL__NAME="moved", SYNTH__TABLE=tmp_path / "moved", EVAL__EPISODES=1) == 0


def test_weights_of_another_shape(root, model_dir, tmp_path):
    content = load_checkpoint(model_dir / best(model_dir))
    content["config"] = {**content["config"], "SB3.HIDDEN": [9]}
    save_checkpoint(tmp_path / "bent.pth", content)
    with pytest.raises(UserError, match=r"bent\.pth.* does not fit"):
        run(root, model_dir, EVAL__CHECKPOINT=tmp_path / "bent.pth")
