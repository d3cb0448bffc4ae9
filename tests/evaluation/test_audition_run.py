"""The evaluation of an audition task: its files, what it keeps, and that it does not matter how much plays at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from audition_config import audition_config
from small_config import NoStop

from audio_separation.envs.audition.build import build_env
from audio_separation.errors import UserError
from audio_separation.evaluation.audition.run import TRAIN, adopt_config
from audio_separation.evaluation.run import evaluate
from audio_separation.evaluation.selection import judged_checkpoints
from audio_separation.evaluation.stats import mean_ci
from audio_separation.models.audition.build import build_agent
from audio_separation.training.checkpoint import save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.run_dir import plain_config

CPU = World(rank=0, size=1, local_rank=0, local_size=1, device=torch.device("cpu"))
TEST = {"DATA__SPLIT": "test", "DATA__SOUNDS": "testUnheard", "AUDITION__POSE": True, "VERBOSE": False}


def write_checkpoint(path, config, seed=0):
    torch.manual_seed(seed)
    agent = build_agent(config, 4)
    with torch.no_grad():  # untrained values hardly differ; these do
        agent.q_network.load_state_dict({k: 3 * v for k, v in agent.q_network.state_dict().items()})
    content = {
        "kind": "dqn",
        "agent": agent.state_dict(),
        "config": plain_config(config),
        "step": 1,
        "num_actions": 4,
    }
    save_checkpoint(path, content)


def run(config, folder, stop_after=float("inf")):
    return evaluate(config, str(folder), CPU, NoStop(stop_after))


def read(folder, name, checkpoint):
    place = folder / "eval" / name / checkpoint
    return json.loads((place / "summary.json").read_text()), json.loads((place / "episodes.json").read_text())


@pytest.fixture(scope="module")
def config(tiny):
    return audition_config(tiny, **TEST)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """A model dir with ckpt.2 and ckpt.10, of which ckpt.2 is the best, where all agents have been judged."""
    folder = tmp_path_factory.mktemp("trained")
    for number in (2, 10):
        write_checkpoint(folder / f"ckpt/ckpt.{number}.pth", config, number)
    (folder / "best.pth").symlink_to("ckpt/ckpt.2.pth")
    (folder / "best.json").write_text(json.dumps({"checkpoint": "ckpt/ckpt.2.pth"}))
    assert run(config, folder) == 0
    return folder


@pytest.fixture(scope="module")
def scripted(tiny, tmp_path_factory):
    """A model dir that nothing was trained in, where the scripted agents were judged."""
    folder = tmp_path_factory.mktemp("scripted") / "run"
    for agent in ("random", "oracle"):
        assert run(audition_config(tiny, EVAL__AGENT=agent, **TEST), folder) == 0
    return folder


def test_what_an_evaluation_leaves(trained, config):
    summary, episodes = read(trained, "test_policy", "ckpt.2")
    assert (summary["task"], summary["agent"], summary["episodes"]) == ("audition", "policy", 4)
    assert (summary["split"], summary["sounds"], summary["checkpoint"]) == (
        "test",
        "testUnheard",
        "ckpt/ckpt.2.pth",
    )
    assert episodes["action_names"] == {"0": "forward", "1": "backward", "2": "turn left", "3": "turn right"}
    records = episodes["episodes"]
    assert [record["episode"] for record in records] == list(range(4))
    for method, scores in summary["methods"].items():
        for metric, estimate in scores.items():
            assert estimate == mean_ci(r["scores"][method][metric] for r in records)._asdict()
    assert list(summary["methods"]) == ["policy", "mixture", "ideal_mask"]
    assert {"success", "spl", "si_sdr_db", "first_si_sir_db"} <= set(summary["methods"]["policy"])
    assert summary["record"]["config"]["AUDITION.POSE"] is True


def test_records_can_be_played_again(scripted, tiny):
    config = audition_config(tiny, **TEST)
    env = build_env(config)
    for agent in ("random", "oracle"):
        for record in read(scripted, f"test_{agent}", agent)[1]["episodes"]:
            env.reset(options={"episode": env.episode(record["episode"])})
            for t, action in enumerate(record["actions"]):
                _, reward, terminated, _, info = env.step(action)
                assert reward == pytest.approx(record["rewards"][t], abs=1e-6)
                assert np.allclose(info["position"], record["positions_m"][t + 1], atol=1e-4)
                assert info["found"] == record["found"][t + 1]
            assert terminated == record["success"]
            scores = record["scores"][agent]
            assert scores["reward"] == pytest.approx(sum(record["rewards"]), abs=1e-4)
            assert scores["steps"] == (len(record["actions"]) if terminated else 24)


def test_the_oracle_is_above_and_all_hear_the_same_at_first(scripted, trained):
    methods = {agent: read(scripted, f"test_{agent}", agent)[0]["methods"] for agent in ("random", "oracle")}
    methods["policy"] = read(trained, "test_policy", "ckpt.2")[0]["methods"]
    assert methods["oracle"]["oracle"]["success"]["mean"] == 1
    assert methods["oracle"]["oracle"]["spl"]["mean"] > 0.6 > methods["random"]["random"]["spl"]["mean"]
    first = [found["mixture"]["first_si_sdr_db"] for found in methods.values()]
    assert first[0] == first[1] == first[2]
    assert methods["random"]["mixture"]["si_sdr_db"] != methods["oracle"]["mixture"]["si_sdr_db"]
    assert methods["random"]["ideal_mask"]["first_si_sdr_improvement_db"]["mean"] > 5


@pytest.mark.parametrize(("agent", "processes"), [("policy", 1), ("policy", 9), ("random", 3)])
def test_scores_do_not_depend_on_how_many_play_at_once(tiny, trained, scripted, agent, processes, tmp_path):
    config = audition_config(tiny, EVAL__AGENT=agent, NUM_PROCESSES=processes, **TEST)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "ckpt").symlink_to(trained / "ckpt")
    (folder / "best.pth").symlink_to("ckpt/ckpt.2.pth")
    (folder / "best.json").write_text((trained / "best.json").read_text())
    assert run(config, folder) == 0
    names = (f"test_{agent}", "ckpt.2" if agent == "policy" else agent)
    others = read(trained if agent == "policy" else scripted, *names)[1]["episodes"]
    for one, other in zip(read(folder, *names)[1]["episodes"], others):
        assert one["actions"] == other["actions"]
        for method, scores in other["scores"].items():
            assert one["scores"][method] == pytest.approx(scores, abs=1e-3)


def test_a_finished_result_is_kept_and_another_refused(tiny, config, trained, capsys):
    place = trained / "eval/test_policy/ckpt.2/summary.json"
    before = place.stat().st_mtime_ns
    again = audition_config(tiny, NUM_PROCESSES=5, DQN__LR=0.5, DQN__EPSILON_END=0.5, **TEST)
    assert run(again, trained) == 0
    assert "finished before, kept" in capsys.readouterr().out and place.stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"AUDITION.RADIUS_M is 0.5 there, 0.6 now"):
        run(audition_config(tiny, AUDITION__RADIUS_M=0.6, **TEST), trained)
    drawn = {"EVAL__DETERMINISTIC": False, "EVAL__NAME": "drawn", **TEST}
    assert run(audition_config(tiny, **drawn), trained) == 0
    with pytest.raises(UserError, match=r"DQN.EPSILON_END is 0.1 there, 0.5 now"):
        run(audition_config(tiny, DQN__EPSILON_END=0.5, **drawn), trained)


def test_all_checkpoints_and_one_that_is_stopped(tiny, trained, tmp_path):
    config = audition_config(tiny, EVAL__CHECKPOINT="all", EVAL__NAME="every", EVAL__EPISODES=2, **TEST)
    assert run(config, trained, stop_after=5) == 143
    assert not list((trained / "eval").glob("every/*/summary.json"))
    assert run(config, trained) == 0
    two, ten = (read(trained, "every", f"ckpt.{n}")[0] for n in (2, 10))
    assert two["checkpoint_sha256"] != ten["checkpoint_sha256"]
    assert [p.name for p in judged_checkpoints("latest", trained, TRAIN)] == ["ckpt.10.pth"]
    assert judged_checkpoints("ckpt/ckpt.10.pth", trained, TRAIN) == [trained / "ckpt/ckpt.10.pth"]


def test_the_task_of_the_checkpoint_is_taken_unless_another_is_asked_for(tiny):
    stored = audition_config(
        tiny, AUDITION__STEP_M=0.75, AUDITION__QNET__HIDDEN="[16]", AUDITION__SEPARATOR__CHECKPOINT="x"
    )
    asked = audition_config(tiny, AUDITION__SECONDS=0.5)
    content = {"kind": "dqn", "config": plain_config(stored)}
    adopted = adopt_config(asked, content, "best.pth").AUDITION
    assert (adopted.STEP_M, adopted.SECONDS, adopted.SEPARATOR.CHECKPOINT) == (0.75, 0.5, "")
    assert list(adopted.QNET.HIDDEN) == [8]  # the small config asks for it
    with pytest.raises(UserError, match="of kind 'separator', expected one of TRAINER dqn"):
        adopt_config(asked, {**content, "kind": "separator"}, "best.pth")


def test_mistakes_are_told(tiny, config, tmp_path, trained):
    with pytest.raises(UserError, match=r"has no best.pth; train first: python main.py"):
        run(config, tmp_path)
    with pytest.raises(UserError, match=r"has no checkpoints"):
        judged_checkpoints("all", tmp_path, TRAIN)
    with pytest.raises(UserError, match="expected all, best, latest or an existing"):
        judged_checkpoints("bset", tmp_path, TRAIN)
    with pytest.raises(UserError, match="EVAL.AGENT is 'stand'; expected one of policy, random, oracle"):
        run(audition_config(tiny, EVAL__AGENT="stand", **TEST), tmp_path)
    with pytest.raises(UserError, match="EVAL.EPISODES must be at least 1"):
        run(audition_config(tiny, EVAL__EPISODES=0, **TEST), tmp_path)
    two = World(rank=0, size=2, local_rank=0, local_size=2, device=torch.device("cpu"))
    with pytest.raises(UserError, match="evaluated by one process, found 2"):
        evaluate(config, str(trained), two, NoStop())
    with pytest.raises(UserError, match="does not fit the configured agent"):
        run(
            audition_config(tiny, EVAL__NAME="wide", AUDITION__QNET__HIDDEN="[9]", **TEST),
            trained,
        )


def test_a_report_is_added_to_a_finished_result(tiny, trained, scripted):
    for folder, agent, name in ((trained, "policy", "ckpt.2"), (scripted, "oracle", "oracle")):
        place = folder / f"eval/test_{agent}" / name
        before = (place / "summary.json").read_bytes()
        config = audition_config(tiny, **{**TEST, "EVAL__AGENT": agent, "EVAL__REPORT_EPISODES": 2})
        assert run(config, folder) == 0
        assert (place / "summary.json").read_bytes() == before
        page = (place / "report/report.html").read_text()
        assert page.count('class="playback"') == 2
        assert (place / "report/episode_0002/mixture.wav").exists()
        assert (place / "report/episode_0002/separated_1.wav").exists() == (agent == "policy")
