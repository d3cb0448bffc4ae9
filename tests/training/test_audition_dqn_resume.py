"""A DQN training that is stopped or killed goes on to the same weights, curves and episodes as one that never was."""

from __future__ import annotations

import json

import pytest
import torch
from dqn_runs import dqn_config
from small_config import train

from audio_separation.errors import UserError
from audio_separation.training.dqn import DqnTrainer

KINDS = {
    "sound": {"DQN__AUTOCLIP": 30.0, "AUDITION__SEPARATOR__DROPOUT": 0.3},
    "frozen": {"AUDITION__SEPARATOR__FROZEN": True, "DQN__BUFFER_DIR": "files", "DQN__TARGET": "soft"},
}


@pytest.fixture(scope="module", params=KINDS)
def case(request, tiny, tmp_path_factory):
    """Config, the model dir of an uninterrupted run, and a folder in which others may run."""
    folder = tmp_path_factory.mktemp(request.param)
    changes = dict(KINDS[request.param])
    if "DQN__BUFFER_DIR" in changes:
        changes["DQN__BUFFER_DIR"] = folder / "files"
    config = dqn_config(tiny, **changes)
    assert train(config, folder / "whole") == 0
    return config, folder / "whole", folder


def flatten(tree, name=""):
    if isinstance(tree, (dict, list, tuple)):
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [leaf for key, value in items for leaf in flatten(value, f"{name}/{key}")]
    return [(name, tree)]


def assert_same_run(one, two):
    for name in ("metrics.jsonl", "episodes.jsonl", "best.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    states = [flatten(torch.load(run / "state.pth", weights_only=True)) for run in (one, two)]
    assert len(states[0]) == len(states[1]) > 50
    for (name, a), (other, b) in zip(*states):
        assert name == other
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, name


def test_stopped_anywhere(case):
    """Before the first update, amid an episode, in a validation and right after one."""
    config, whole, folder = case
    run, statuses = folder / "stopped", []
    for looks in (7, 21, 8, 12):
        statuses.append(train(config, run, stop_after=looks))
        assert len(list(run.glob("replay.*.npz"))) == 1 and not list(run.glob(".*"))
    assert statuses == [143] * 4
    assert train(config, run) == 0
    assert_same_run(whole, run)
    files = folder / "files"
    assert not files.exists() or not list(files.iterdir())


def test_killed_long_after_a_save(case, monkeypatch):
    """The state of step 50 is all that there is; what came after it is lost and comes again."""
    config, whole, folder = case
    run, advance = folder / "killed", DqnTrainer._advance

    def until_86(trainer):
        if trainer.step >= 86:
            raise KeyboardInterrupt
        advance(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(DqnTrainer, "_advance", until_86)
        with pytest.raises(KeyboardInterrupt):
            train(config, run)
    assert torch.load(run / "state.pth", weights_only=True)["step"] == 50
    with open(run / "episodes.jsonl", "a") as file:
        file.write('{"episode": 9')  # the half line of a killed run
    assert json.loads((run / "episodes.jsonl").read_text().splitlines()[-2])["env_step"] > 50
    assert train(config, run) == 0
    assert_same_run(whole, run)


def test_a_lost_or_damaged_buffer_is_told(case):
    config, _, folder = case
    run = folder / "lost"
    assert train(config, run, stop_after=10) == 143
    (buffer,) = run.glob("replay.*.npz")
    whole = buffer.read_bytes()
    for content in (whole[: len(whole) // 2], b"", None):
        buffer.unlink()
        if content is not None:
            buffer.write_bytes(content)
        with pytest.raises(UserError, match="is missing" if content is None else "is damaged"):
            train(config, run)
    for path in (folder / "files").glob("*"):
        path.unlink()
