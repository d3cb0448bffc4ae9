"""What every environment of the project must keep to, single or vector."""

from __future__ import annotations

from typing import Any, Callable

import gymnasium
import numpy as np


def assert_same(a: Any, b: Any) -> None:
    """Equal to the bit, through dictionaries and tuples."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            assert_same(x, y)
    else:
        np.testing.assert_array_equal(a, b)


def assert_in_space(observation: dict, space: gymnasium.spaces.Dict) -> None:
    """Every part has the dtype and shape of its space and lies in it."""
    assert observation.keys() == space.spaces.keys()
    for key, part in space.spaces.items():
        value = np.asarray(observation[key])
        assert value.dtype == part.dtype, f"{key}: {value.dtype}, the space says {part.dtype}"
        assert value.shape == part.shape, f"{key}: {value.shape}, the space says {part.shape}"
        assert part.contains(observation[key]), f"{key} is not in {part}"
        assert np.isfinite(value).all(), key


def play(env: Any, seed: int, steps: int) -> list[Any]:
    """Reset and step with actions that depend on ``seed`` alone; everything that came back."""
    env.action_space.seed(seed)
    record: list[Any] = [env.reset(seed=seed)]
    for _ in range(steps):
        record.append(env.step(env.action_space.sample()))
    return record


def check_contract(make: Callable[[], Any], steps: int) -> None:
    """Spaces, determinism, and that observing is reading.

    Args:
        make: a new environment, single or vector.
        steps: shorter than an episode.
    """
    first, second = make(), make()
    record = play(first, 3, steps)
    for observation, *_ in record:
        assert_in_space(observation, first.observation_space)
    assert_same(record, play(second, 3, steps))
    assert_same(record, play(first, 3, steps))  # nothing of the first episode is left
    other = play(second, 4, steps)
    (heard,) = {"mix_logmag", "audio", "observation"} & record[0][0].keys()
    assert not np.array_equal(record[0][0][heard], other[0][0][heard])
    # an observation is the caller's own: writing into it changes nothing that comes later
    third = make()
    third.action_space.seed(3)
    observation, _ = third.reset(seed=3)
    for value in observation.values():
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value[...] = 0
    for expected in record[1:]:
        assert_same(expected, third.step(third.action_space.sample()))
    for env in (first, second, third):
        env.close()
