"""TASK.FORWARD_RULE: which neighbour MOVE_FORWARD leads to."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_config import small_config

from audio_separation.envs.build import build_simulator, load_task_episodes
from audio_separation.envs.simulator import MOVE_FORWARD, TURN_RIGHT, BatchSimulator, Scene
from audio_separation.evaluation.report import write_report
from audio_separation.scenes.episode_format import Episode
from audio_separation.scenes.graph import build_graph

# node 1 lies diagonally ahead and to the right of node 0, node 2 straight ahead; the graph lists 1 first
POINTS = np.array([[0, 0, 0], [1, 0, -1], [0, 0, -1]], dtype=float)


def walk(rule: str, actions: list[int]) -> int:
    """The node where an agent ends that begins at node 0 of a second scene, facing -z."""
    other = build_graph(POINTS[:1], [])
    scenes = {"a": Scene(other, None), "b": Scene(build_graph(POINTS, [(0, 1), (0, 2)]), None)}
    renderer = SimpleNamespace(device="cpu")
    simulator = BatchSimulator(scenes, None, renderer, 1, forward_rule=rule)  # type: ignore[arg-type]
    start = (0.0, 0.0, 0.0)
    simulator.begin([0], [Episode("0", "b", start, 0, ("x",), (0,), (0,), ((start,),))])
    for action in actions:
        simulator.move(np.array([action]))
    return int(simulator.node[0])


def test_the_straight_neighbour_or_the_first_of_the_graph() -> None:
    assert walk("ours", [MOVE_FORWARD]) == 2
    assert walk("published", [MOVE_FORWARD]) == 1
    # facing +x the diagonal lies across 360 degrees, where the published rule loses it
    assert walk("ours", [TURN_RIGHT, MOVE_FORWARD]) == 1
    assert walk("published", [TURN_RIGHT, MOVE_FORWARD]) == 0


@pytest.mark.parametrize("rule", ["ours", "published"])
def test_the_config_decides_and_the_report_plays_by_the_same_rule(tiny, rule, monkeypatch, tmp_path) -> None:
    config = small_config(tiny, TASK__FORWARD_RULE=rule, EVAL__REPORT_EPISODES=1)
    episodes = load_task_episodes(config)[:1]
    simulator = build_simulator(config, episodes, 1, torch.device("cpu"), True, images=False)
    assert simulator.forward_rule == rule
    rules = []

    class Stop(Exception):
        pass

    def player(agent, small, config):
        rules.append(small.forward_rule)
        raise Stop

    monkeypatch.setattr("audio_separation.evaluation.report.Player", player)
    with pytest.raises(Stop):
        write_report(tmp_path / "report", None, simulator, episodes, config, {}, tmp_path)  # type: ignore[arg-type]
    assert rules == [rule]
