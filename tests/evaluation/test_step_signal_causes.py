"""Each cause of docs/step_signal.md: that the fault is there as told, and that our environment does not have it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from script_module import load_script
from small_config import REPO

from audio_separation.config import get_config
from audio_separation.envs.step_signal.env import StepSignalEnv
from audio_separation.envs.step_signal.episodes import StepEpisode
from audio_separation.envs.step_signal.published import (
    HIGH,
    LOW,
    PublishedStepSignalEnv,
    low_pass_by_coefficients,
    published_rescale,
    published_signal,
)
from audio_separation.envs.step_signal.signals import low_pass, rms_distance
from audio_separation.evaluation.figures import png_bytes
from audio_separation.evaluation.step_signal import causes, faults, figures


def make_env(**changes):
    words = [str(w) for key, value in changes.items() for w in (f"STEP_SIGNAL.{key}", value)]
    return StepSignalEnv(overrides=["TASK.NAME", "step_signal", *words])


# ---- the question's environment


def test_the_signal_and_the_goal_of_the_question():
    env = PublishedStepSignalEnv()
    observation, _ = env.reset()
    assert set(published_signal()) == {4.0, 5.0} and len(published_signal()) == 600
    assert (published_signal() == 4).sum() == 150  # it steps at 5 of 20 s
    assert set(observation["desired_goal"]) == {3.0}


def test_an_action_of_the_question_by_hand():
    env = PublishedStepSignalEnv()
    env.reset()
    observation, reward, terminated, truncated, info = env.step([-0.5, -0.75])
    cutoff_hz = 14.899 / 2 * 0.5  # a quarter of the range, its lower end not added
    expected = low_pass(published_signal(), cutoff_hz, 30, 4) - 0.5
    np.testing.assert_allclose(observation["achieved_goal"], expected, atol=1e-9)
    assert reward == pytest.approx(-np.linalg.norm(expected - 3)) and not terminated and not truncated
    assert not info["is_success"]


# ---- 1


def test_nothing_is_learnt_before_the_warm_up_ends():
    never = causes.changed_by_training(make_env(), warm_up=10000, steps=10, seed=0)
    assert never["changed"] == 0 and never["parameters"] > 10000
    assert causes.changed_by_training(make_env(), warm_up=2, steps=10, seed=0)["changed"] > 0


# ---- 2


def test_untrained_linear_actors_leave_the_bounds_and_stay_where_they_are():
    numbers = causes.actor_numbers(causes.linear_actors(40, 3, np.random.default_rng(0)))
    assert numbers["outside"] > 0.7 and numbers["cutoff_at_bound"] > 0.7 and numbers["offset_at_bound"] > 0.7
    assert numbers["noise"] < 0.05 < 1 < numbers["between_actors"]  # two orders apart
    assert numbers["same_corner"] > 0.4


def test_the_numbers_of_actors_by_hand():
    # two actors, two episodes of one step: the first always at a corner, the second inside
    outputs = np.array([[[[5.0, 5.0]], [[7.0, 9.0]]], [[[-0.5, -0.5]], [[0.5, -0.7]]]])
    numbers = causes.actor_numbers(outputs)
    assert numbers["outside"] == 4 / 8 and numbers["same_corner"] == 1 / 2
    assert numbers["cutoff_at_bound"] == 2 / 4 and numbers["offset_at_bound"] == 2 / 4
    assert numbers["noise"] == pytest.approx((1 + 2 + 0.5 + 0.1) / 4)
    assert numbers["between_actors"] == pytest.approx((3 + 3.8) / 2)


def test_a_bounded_actor_cannot_leave():
    env = make_env()
    assert (env.action_space.low == -1).all() and (env.action_space.high == 1).all()


# ---- 3


def test_without_the_lower_end_half_of_the_offsets_are_never_reached():
    found = causes.rescaling()
    assert (found["offset_low"], found["offset_high"]) == (0.0, 2.0) and found["reached"] == 0.5
    assert found["wasted"] == pytest.approx(0.5, abs=1e-3)
    assert found["sampled_cutoff_high"] == pytest.approx(1 - 1 / 14.9, abs=1e-3)
    np.testing.assert_allclose(published_rescale([-1, -1]), [LOW[0], 0])
    np.testing.assert_allclose(published_rescale([0, 0]), [14.899 / 2, 2])


# ---- 4


def test_equal_actions_do_not_give_equal_results():
    distances = causes.drift(1.0, 0.5, 5)
    assert distances[0] == 0
    np.testing.assert_allclose(np.diff(distances), 0.5, atol=1e-3)  # the offset once more each time
    env = make_env()
    env.reset(options={"episode": StepEpisode(4, 5, 0.25, 3)})
    env.step(np.array([-1.0, 0.5]))
    once = env.achieved
    for _ in range(4):
        env.step(np.zeros(2))
    np.testing.assert_array_equal(env.achieved, once)


# ---- 5


def test_the_region_of_success_is_a_sliver_of_a_linear_scale():
    region = causes.success_region()
    just = causes.residual_norms(np.array([0.999, 1.001]) * region["highest_hz"])
    assert just[0] < 1 < just[1]
    assert 100 * region["of_zero"] == pytest.approx(0.165, abs=5e-4)
    assert 100 * region["linear"] == pytest.approx(0.159, abs=5e-4)
    assert region["logarithmic"] > 0.3


def test_the_area_of_success_against_drawn_actions():
    rng, region = np.random.default_rng(0), causes.success_region()
    cutoffs, offsets = rng.uniform(LOW[0], region["highest_hz"], 300), rng.uniform(LOW[1], HIGH[1], 300)
    signals = [low_pass(published_signal(), hz, 30, 4) for hz in cutoffs]
    hits = np.mean([[np.linalg.norm(s - o - 3) < 1 for o in offsets] for s in signals])
    assert hits * region["linear"] == pytest.approx(region["area"], rel=0.3)


# ---- 6


def test_coefficients_lose_their_digits_at_low_cutoffs():
    errors = causes.coefficient_errors(np.array([1.0, 0.1, 0.01, 0.001]))
    assert (np.diff(errors) > 0).all() and errors[0] < 1e-9 and errors[-1] > 1  # of a step of height 1
    assert abs(causes.coefficient_gain(1.0) - 1) < 1e-9 < 0.05 < abs(causes.coefficient_gain(0.001) - 1)
    # sections keep a constant, whatever the cutoff
    np.testing.assert_allclose(low_pass(np.full(600, 4.0), 0.001, 30, 4), 4, atol=1e-9)
    assert rms_distance(low_pass_by_coefficients(np.full(600, 4.0), 0.001), 4.0) > 0.1


# ---- 7


def test_hindsight_would_reward_the_distance():
    found = causes.relabel(30, np.random.default_rng(0))
    np.testing.assert_allclose(found.given, -found.distances)
    np.testing.assert_allclose(found.relabelled, found.distances)
    assert found.batch_size == 1  # for 30 transitions
    env = make_env()
    near, far = env.compute_reward(np.array([[0.1] * 40, [0.5] * 40]), np.zeros((2, 40)), [{}, {}])
    assert near > far


# ---- 8


def test_the_question_never_ends_an_episode():
    ends, observations = causes.play_on(PublishedStepSignalEnv(), np.array([-1.0, -0.75]), 100)
    assert ends == 0 and rms_distance(observations[-1]["achieved_goal"], 3.0) > 1e6
    assert causes.play_on(make_env(), np.zeros(2), 100)[0] == 4


# ---- faults in training


def test_each_fault_changes_what_it_says():
    played, action = StepEpisode(4.0, 5.0, 0.25, 3.0), np.array([-1.0, 0.5])

    def after(env_class, times, *words):
        env = env_class(overrides=["TASK.NAME", "step_signal", *words])
        env.reset(options={"episode": played})
        steps = [env.step(action) for _ in range(times)]
        return env, steps[-1]

    once, _ = after(StepSignalEnv, 1)
    again, _ = after(faults.AgainEnv, 1)
    np.testing.assert_array_equal(again.achieved, once.achieved)
    again, _ = after(faults.AgainEnv, 2)
    twice = low_pass(low_pass(again.original, once.cutoff_hz, 30, 4) - 0.5, again.cutoff_hz, 30, 4) - 1.0
    np.testing.assert_allclose(again.achieved, twice, atol=1e-9)
    knobs = [
        (env.cutoff_hz, env.offset)
        for env, _ in (
            after(c, 3) for c in (faults.AbsoluteEnv, faults.LinearCutoffEnv, faults.WithoutLowEndEnv)
        )
    ]
    np.testing.assert_allclose(knobs, [(0.01, 5), (0.01, 5), (0.01, 10)])
    signed, (observation, reward, *_) = after(faults.SignEnv, 1)
    _, (_, expected, *_) = after(StepSignalEnv, 1)
    relabelled = signed.compute_reward(observation["achieved_goal"], observation["desired_goal"], {})
    assert reward == expected == -relabelled < 0
    lowest = faults.LOWEST
    by_sections, _ = after(StepSignalEnv, 20, *lowest)
    by_coefficients, _ = after(faults.CoefficientsEnv, 20, *lowest)
    assert rms_distance(by_sections.achieved, by_coefficients.achieved) > 0.1


@pytest.mark.parametrize("name", list(faults.FAULTS))
def test_a_training_with_each_fault_runs(name):
    words = ["SB3.NUM_STEPS", "60", "SB3.START_STEPS", "30", "SB3.HIDDEN", "[8]", "SB3.BATCH", "8"]
    config = get_config(str(REPO / "configs/step_signal/ddpg.yaml"), words)
    assert faults.train_with(faults.FAULTS[name], config, 3) in (0, 1 / 3, 2 / 3, 1)


# ---- figures and the script


def test_figures_are_drawn():
    actors = causes.linear_actors(3, 2, np.random.default_rng(0))
    for figure in (figures.actions_figure(actors), figures.filters_figure()):
        assert isinstance(figure, Figure) and len(png_bytes(figure)) > 10000


def test_the_script_writes_numbers_and_figures_and_goes_on(tmp_path, monkeypatch, capsys):
    script = load_script("step_signal_causes")
    numbers, folder = tmp_path / "a" / "numbers.json", tmp_path / "figures"

    def run(*words):
        given = ["step_signal_causes.py", "--numbers", str(numbers), "--figures", str(folder), *words]
        monkeypatch.setattr("sys.argv", given)
        return script.main()

    trained = []

    def train(wanted, jobs):
        trained.extend(wanted)
        return ({"fault": f, "cause": 0, "seed": s, "success": s / 4} for f, s in wanted)

    monkeypatch.setattr(script, "train_all", train)
    monkeypatch.setattr(script, "filters_figure", lambda: Figure())  # takes a second, and is drawn above
    monkeypatch.setattr(script.causes, "measure_causes", lambda env, seed: {"1 warm-up": {"changed": 0.0}})
    assert run("--seeds", "1") == 0 and len(trained) == len(faults.FAULTS)
    assert "| none | - | 25 |" in capsys.readouterr().out
    assert run("--seeds", "1", "2") == 0 and len(trained) == 2 * len(faults.FAULTS)  # not the first again
    content = json.loads(numbers.read_text())
    assert content["causes"] == {"1 warm-up": {"changed": 0.0}} and len(content["trained"]) == len(trained)
    assert {p.name for p in folder.iterdir()} == {"actions.png", "filters.png"}
    content["settings"]["SB3.GAMMA"] = 0.5
    numbers.write_text(json.dumps(content))
    assert run() == 2 and "other settings (SB3.GAMMA); give --numbers" in capsys.readouterr().err
    numbers.write_text("[]")
    assert run() == 2 and "holds no numbers of this script" in capsys.readouterr().err
    assert numbers.read_text() == "[]"
