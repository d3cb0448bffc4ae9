"""What learns in the DQN training: its networks, an optimiser, and an update from a batch of transitions."""

from __future__ import annotations

import copy
import math
from typing import Any, Mapping, Optional

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.errors import UserError
from audio_separation.models.audition.agent import AuditionAgent
from audio_separation.models.precision import network_precision
from audio_separation.rl.dqn import (
    AutoClip,
    clip_gradients,
    dqn_loss,
    dqn_targets,
    gradient_norm,
    move_towards,
)
from audio_separation.rl.replay import Transitions


class DqnLearner:
    """The online network, which acts and learns, and those that follow it.

    The target network gives the values that are learnt from. With ``DQN.AVERAGE`` a moving average over the updates
    is what is judged and saved: the best action changes from update to update where values are close, and an agent
    that keeps no memory then gets stuck in some of these policies for whole episodes.

    Args:
        config: section ``DQN``, and ``TRAIN.PRECISION``.
        agent: the online network, on the device to learn on.
        device: of the networks.
    """

    def __init__(self, config: CfgNode, agent: AuditionAgent, device: torch.device):
        self.config, self.agent, self.device = config, agent, device
        self.target = copy.deepcopy(agent).requires_grad_(False).eval()
        dqn = config.DQN
        self.average = copy.deepcopy(self.target) if dqn.AVERAGE else None
        groups: list[dict[str, Any]] = [{"params": list(agent.q_network.parameters()), "lr": dqn.LR}]
        if not agent.frozen:
            groups.append({"params": list(agent.separator.parameters()), "lr": dqn.SEPARATOR_LR})
        self.optimizer = torch.optim.Adam(groups, fused=True)
        self.autoclip: Optional[AutoClip] = AutoClip(dqn.AUTOCLIP) if dqn.AUTOCLIP else None
        self.updates = 0

    def to_device(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """Arrays as tensors on the device; nothing is copied in main memory."""
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}

    def values(self, network: AuditionAgent, observation: Mapping[str, Tensor]) -> Tensor:
        """Values ``[B, A]`` of observations that hold ``audio`` or its ``cues``, and a ``pose`` if one is observed."""
        with network_precision(self.config.TRAIN.PRECISION, self.device):
            cues = observation["cues"] if "cues" in observation else network.cues(observation["audio"])
            return network.values(cues, observation.get("pose")).float()

    @torch.no_grad()
    def cues(self, audio: np.ndarray) -> np.ndarray:
        """Cues ``[B, D]`` of ``audio [B, 2, L]`` by the online network in evaluation mode."""
        self.agent.eval()
        with network_precision(self.config.TRAIN.PRECISION, self.device):
            return self.agent.cues(torch.from_numpy(audio).to(self.device)).float().cpu().numpy()

    @torch.no_grad()
    def best_actions(
        self, observation: Mapping[str, np.ndarray], network: Optional[AuditionAgent] = None
    ) -> np.ndarray:
        """Actions ``[B]`` of the highest value in evaluation mode; the first of equals.

        Args:
            network: whose values count; default the online network.
        """
        network = (network or self.agent).eval()
        return self.values(network, self.to_device(observation)).argmax(1).cpu().numpy()

    @property
    def judged(self) -> AuditionAgent:
        """The network that is validated and saved."""
        return self.agent if self.average is None else self.average

    def update(self, batch: Transitions) -> dict[str, float]:
        """One gradient step.

        Raises:
            UserError: the gradient is not finite.
        """
        dqn, device = self.config.DQN, self.device
        reward = torch.from_numpy(batch.reward).to(device) * dqn.REWARD_SCALE
        terminated = torch.from_numpy(batch.terminated).to(device)
        following = self.to_device(batch.next_observation)
        with torch.no_grad():
            self.agent.eval()
            by_target = self.values(self.target, following)
            by_online = self.values(self.agent, following) if dqn.DOUBLE else by_target
            targets = dqn_targets(reward, terminated, by_online, by_target, dqn.GAMMA, dqn.DOUBLE)
        self.agent.train()
        torch.manual_seed(self.config.SEED * 1_000_003 + self.updates)  # dropout, the same in a resumed run
        values = self.values(self.agent, self.to_device(batch.observation))
        actions = torch.from_numpy(batch.action).to(device)
        loss = dqn_loss(values, actions, targets, dqn.LOSS)
        self.optimizer.zero_grad()
        loss.backward()
        norm = self._step()
        taken = values.detach().gather(1, actions[:, None])
        return {"loss": loss.item(), "q_mean": taken.mean().item(), "grad_norm": norm}

    def _step(self) -> float:
        """Clip the gradient and follow it; returns its norm before."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters if p.grad is not None]
        norm = gradient_norm(gradients)
        if not math.isfinite(norm):
            raise UserError(
                f"the gradient of update {self.updates + 1} is not finite; lower DQN.LR or DQN.SEPARATOR_LR and begin "
                "again in a new --model-dir"
            )
        limit = self.autoclip.threshold(norm) if self.autoclip else self.config.DQN.MAX_GRAD_NORM
        clip_gradients(gradients, norm, limit)
        self.optimizer.step()
        self.updates += 1
        if self.config.DQN.TARGET == "soft":
            move_towards(self.target, self.agent, self.config.DQN.TAU)
        if self.average is not None:
            # at first the plain mean, so that the weights of the beginning are soon forgotten
            move_towards(self.average, self.agent, max(1 - self.config.DQN.AVERAGE, 1 / self.updates))
        return norm

    def copy_to_target(self) -> None:
        """Make the target network equal to the online one."""
        move_towards(self.target, self.agent, 1.0)

    def begin_from_agent(self) -> None:
        """Make all networks equal to the online one."""
        self.copy_to_target()
        if self.average is not None:
            move_towards(self.average, self.agent, 1.0)

    # ---- state --------------------------------------------------------------------------------------
    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {
            "online": self.agent.state_dict(),
            "target": self.target.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "updates": self.updates,
            "autoclip": self.autoclip.state_dict() if self.autoclip else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`."""
        self.agent.load_state_dict(state["online"])
        self.target.load_state_dict(state["target"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.updates = state["updates"]
        if self.autoclip:
            self.autoclip.load_state_dict(state["autoclip"])
