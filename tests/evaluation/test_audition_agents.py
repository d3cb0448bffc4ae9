"""Who moves: the oracle always arrives, the random agent is fair, the policy follows its values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audition_config import audition_config

from audio_separation.envs.audition.build import build_env
from audio_separation.evaluation.audition.agents import (
    OracleActor,
    PolicyActor,
    RandomActor,
    Turn,
    episode_draws,
    plan_episode,
)
from audio_separation.evaluation.audition.scores import spl

NO_SOUND = torch.zeros(1, 2, 8)


class StandIn:
    """World or agent of which only what actors ask for is there."""

    def __init__(self, step_count=0, values=None):
        self.step_count, self.values = step_count, values

    def eval(self):
        return self

    def __call__(self, audio, pose):
        return self.values


@pytest.mark.parametrize("actions", ["turn", "compass"])
@pytest.mark.parametrize("shape", ["shoebox", "polygon", "l_shape"])
def test_the_oracle_always_arrives_with_few_steps(tiny, shape, actions):
    config = audition_config(tiny, AUDITION__ROOM__SHAPE=shape, AUDITION__ACTIONS=actions)
    env = build_env(config, "val")
    oracle, shares = OracleActor(), []
    for number in range(6):
        world = env.world
        world.reset(env.episode(number))
        ended = terminated = False
        while not ended:
            (action,) = oracle.act(Turn([number], [world], NO_SOUND, None))
            outcome = world.step(action)
            terminated = outcome.terminated
            ended = terminated or outcome.truncated
        assert terminated
        shortest_m = world.shortest_path_m()
        assert world.step_count >= np.ceil(shortest_m / 0.5)
        shares.append(spl(True, shortest_m, world.path_m))
    # steps are half a metre long, and a compass has no diagonals
    assert np.mean(shares) > (0.75 if actions == "turn" else 0.6)


def test_plans_of_the_oracle_hold_in_the_world(tiny):
    env = build_env(audition_config(tiny, AUDITION__SOURCES=3, AUDITION__ROOM__SHAPE="random"), "test")
    for number in range(4):
        world = env.world
        world.reset(env.episode(number))
        plan = plan_episode(world, number)
        left = []
        for action in plan:
            world.step(action)
            left.append(int(world.active.sum()))
        assert left[-1] == 0 and left[-2] > 0


def test_the_random_agent_is_fair_and_itself_again(tiny):
    actor = RandomActor(audition_config(tiny, AUDITION__MAX_STEPS=200), 4)

    def play(number):
        return [actor.act(Turn([number], [StandIn(t)], NO_SOUND, None))[0] for t in range(200)]

    every = [play(number) for number in range(20)]
    assert every[3] == play(3) and every[3] != every[4]
    counts = np.bincount(np.ravel(every), minlength=4)
    assert len(counts) == 4 and np.abs(counts - 1000).max() < 5 * np.sqrt(4000 * 0.25 * 0.75)
    # beside others it does the same
    worlds = [StandIn(5), StandIn(9)]
    assert actor.act(Turn([7, 3], worlds, NO_SOUND, None)) == [every[7][5], every[3][9]]


def test_the_policy_takes_the_action_of_the_highest_value(tiny):
    values = torch.tensor([[0.0, 3.0, -1.0, 2.0], [5.0, 3.0, -1.0, 2.0]])
    turn = Turn([0, 1], [StandIn(), StandIn()], NO_SOUND, None)
    assert PolicyActor(audition_config(tiny), StandIn(values=values)).act(turn) == [1, 0]


def test_a_drawn_policy_strays_as_often_as_it_says(tiny):
    config = audition_config(tiny, EVAL__DETERMINISTIC=False, DQN__EPSILON_END=0.4, AUDITION__MAX_STEPS=500)
    actor = PolicyActor(config, StandIn(values=torch.tensor([[0.0, 3.0, -1.0, 2.0]])))
    actions = [actor.act(Turn([2], [StandIn(t)], NO_SOUND, None))[0] for t in range(500)]
    draws = episode_draws(config.SEED, 2, 500)
    assert actions == [int(which * 4) if explore < 0.4 else 1 for explore, which in draws]
    assert np.mean(np.array(actions) != 1) == pytest.approx(0.3, abs=0.07)
