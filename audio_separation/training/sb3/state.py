"""All that a training by Stable-Baselines3 goes on from, as tensors and plain data.

The library's own archives hold pickled objects, and neither the random generators nor the episodes under way. Here a
resumed training is the same as one that was never stopped.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecMonitor

# of an algorithm, where it has them
COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "_current_progress_remaining",
    "exploration_rate",
)
# of a replay buffer that are constants of its shape, or objects of the run
NOT_STORED = ("observation_space", "action_space", "device", "env", "infos")


def capture(model: BaseAlgorithm, envs: VecMonitor) -> dict[str, Any]:
    """The state between two updates, when no rollout is under way."""
    state: dict[str, Any] = {
        "parameters": _networks(model),
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "observation": _tensors(model._last_obs),
        "starts": torch.from_numpy(np.asarray(model._last_episode_starts, np.uint8)),
        "recent": [_plain_episode(info) for info in model.ep_info_buffer or ()],
        "successes": [float(success) for success in model.ep_success_buffer or ()],
        "returns": torch.from_numpy(envs.episode_returns.copy()),
        "lengths": torch.from_numpy(envs.episode_lengths.copy()),
        "episodes": [
            {"number": number, "actions": [np.asarray(action).tolist() for action in actions]}
            for number, actions in zip(envs.get_attr("number"), envs.get_attr("actions"))
        ],
        "logged": {name: float(value) for name, value in model.logger.name_to_value.items()},
        "logged_count": dict(model.logger.name_to_count),
        "random": _random_state(model),
    }
    buffer = getattr(model, "replay_buffer", None)
    if buffer is not None:
        state["replay"] = _buffer_state(buffer)
    return state


def apply(model: BaseAlgorithm, envs: VecMonitor, state: dict[str, Any]) -> None:
    """Bring an untrained algorithm and its environments to ``state``."""
    _load_networks(model, state["parameters"])
    for name, value in state["counters"].items():
        setattr(model, name, value)
    dtype = model.action_space.dtype
    for index, episode in enumerate(state["episodes"]):
        actions = [np.array(action, dtype)[()] for action in episode["actions"]]
        envs.env_method("resume", episode["number"], actions, indices=[index])
    envs.episode_returns = state["returns"].numpy().copy()
    envs.episode_lengths = state["lengths"].numpy().copy()
    model._last_obs = _arrays(state["observation"])
    model._last_episode_starts = state["starts"].numpy().astype(bool)
    window = model._stats_window_size
    # returns in the precision that VecMonitor gives them, so that their mean is rounded alike
    recent = [{**info, "r": np.float32(info["r"])} for info in state["recent"]]
    model.ep_info_buffer = deque(recent, maxlen=window)
    model.ep_success_buffer = deque(state["successes"], maxlen=window)
    model.logger.name_to_value.update(state["logged"])
    model.logger.name_to_count.update(state["logged_count"])
    if "replay" in state:
        _load_buffer(model.replay_buffer, state["replay"])  # type: ignore[attr-defined]
    _set_random_state(model, state["random"])


# ---- networks -------------------------------------------------------------------------------------------
def _networks(model: BaseAlgorithm) -> dict[str, Any]:
    """State dictionaries of networks and optimisers, and lone tensors such as SAC's entropy coefficient."""
    _, lone = model._get_torch_save_params()
    return {
        **model.get_parameters(),
        "lone": {name: getattr(model, name).detach().clone() for name in lone if _tensor(model, name)},
    }


def _tensor(model: BaseAlgorithm, name: str) -> bool:
    return isinstance(getattr(model, name, None), torch.Tensor)


def _load_networks(model: BaseAlgorithm, parameters: dict[str, Any]) -> None:
    whole = {name: content for name, content in parameters.items() if name != "lone"}
    model.set_parameters(whole, exact_match=True, device=model.device)
    for name, value in parameters["lone"].items():
        getattr(model, name).data.copy_(value)


# ---- replay ---------------------------------------------------------------------------------------------
def _buffer_state(buffer: Any) -> dict[str, Any]:
    """Arrays, cut to what is filled, and numbers."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    state: dict[str, Any] = {"filled": filled}
    for name, value in vars(buffer).items():
        if name in NOT_STORED:
            continue
        if isinstance(value, np.ndarray):
            state[name] = torch.from_numpy(_cut(value, buffer, filled).copy())
        elif isinstance(value, dict) and all(isinstance(part, np.ndarray) for part in value.values()):
            state[name] = {
                key: torch.from_numpy(_cut(part, buffer, filled).copy()) for key, part in value.items()
            }
        elif name in ("pos", "full"):
            state[name] = value
    return state


def _cut(array: np.ndarray, buffer: Any, filled: int) -> np.ndarray:
    return array[:filled] if len(array) == buffer.buffer_size else array


def _load_buffer(buffer: Any, state: dict[str, Any]) -> None:
    for name, value in state.items():
        own = getattr(buffer, name, None)
        if isinstance(value, torch.Tensor):
            own[: len(value)] = value.numpy()  # type: ignore[index]
        elif isinstance(value, dict):
            for key, part in value.items():
                own[key][: len(part)] = part.numpy()  # type: ignore[index]
        elif name in ("pos", "full"):
            setattr(buffer, name, value)


# ---- random generators ----------------------------------------------------------------------------------
def _random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Of the libraries, which Stable-Baselines3 draws from, and of the space that first actions are drawn from."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    version, words, gauss = random.getstate()
    return {
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, cached],
        "python": [version, list(words), gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if model.device.type == "cuda" else [],
        "actions": _plain_generator(model.action_space.np_random.bit_generator.state),
    }


def _set_random_state(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    generator = state["actions"]
    model.action_space.np_random.bit_generator.state = {
        **generator,
        "state": {name: int(word) for name, word in generator["state"].items()},
    }


def _plain_generator(state: Any) -> dict[str, Any]:
    # its words have 128 bits, more than a tensor or a checkpoint's integer holds
    return {**state, "state": {name: str(word) for name, word in state["state"].items()}}


# ---- plain data -----------------------------------------------------------------------------------------
def _tensors(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: torch.from_numpy(np.array(part)) for name, part in observation.items()}
    return torch.from_numpy(np.array(observation))


def _arrays(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: part.numpy().copy() for name, part in observation.items()}
    return observation.numpy().copy()


def _plain_episode(info: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in info.items()}
