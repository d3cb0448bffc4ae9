"""Validation of the DQN training: episodes of the split val, and how well their first sounds are separated."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.audio.separation_scores import separation_scores
from audio_separation.envs.audition.build import build_envs
from audio_separation.rl.dqn import episode_draws, stray
from audio_separation.training.dqn_learner import DqnLearner
from audio_separation.training.dqn_players import Player, stack
from audio_separation.training.run_dir import StopRequest


class Validation:
    """The first ``DQN.VAL_EPISODES`` episodes of val, played by the network that is judged, as the evaluation plays.

    With ``EVAL.DETERMINISTIC False`` one action in ``DQN.EPSILON_END`` is drawn.

    Args:
        num_envs: that play at a time.
    """

    def __init__(self, config: CfgNode, learner: DqnLearner, num_envs: int):
        self.count, self.chunk, self.learner = config.DQN.VAL_EPISODES, config.DQN.BATCH, learner
        self.epsilon = 0.0 if config.EVAL.DETERMINISTIC else config.DQN.EPSILON_END
        self.seed, self.max_steps = config.SEED, config.AUDITION.MAX_STEPS
        self.players = [Player(env) for env in build_envs(config, min(num_envs, self.count), "val")]

    def run(self, stop: StopRequest) -> Optional[dict[str, float]]:
        """Means over the episodes, as ``val/*``, and ``separator/*`` of their first observations (dB).

        Returns:
            None where a signal came before the end.
        """
        waiting = list(range(self.count))[::-1]
        summaries: list[dict[str, Any]] = []
        images: dict[int, np.ndarray] = {}
        playing: list[tuple[Player, dict[str, np.ndarray]]] = []
        free = list(self.players)
        while waiting or playing:
            if stop.signal is not None:
                return None
            while waiting and free:
                player = free.pop()
                playing.append((player, player.begin(waiting.pop())))
                images[player.number] = player.env.world.source_images()
            actions = self.learner.best_actions(
                stack([observation for _, observation in playing]), self.learner.judged
            )
            steps = [
                (player, player.step(self._action(player, int(a))))
                for (player, _), a in zip(playing, actions)
            ]
            playing = [(player, step.observation) for player, step in steps if not step.ended]
            ended = [player for player, step in steps if step.ended]
            summaries += [player.summary() for player in ended]
            free += ended
        metrics = {
            f"val/{name}": float(np.mean([summary[name] for summary in summaries]))
            for name in ("success", "reward", "steps", "found")
        }
        return {**metrics, **self._separation(np.stack([images[number] for number in range(self.count)]))}

    def _action(self, player: Player, best: int) -> int:
        draw = episode_draws(self.seed, player.number, self.max_steps)[player.env.world.step_count]
        return stray(best, draw, self.epsilon, player.env.action_space.n)  # type: ignore[attr-defined]

    @torch.no_grad()
    def _separation(self, images: np.ndarray) -> dict[str, float]:
        """Means of the scores of ``images [V, S, 2, L]``; none where a single source leaves nothing to separate."""
        separator = self.learner.judged.eval().separator
        parts: dict[str, list[Tensor]] = {}
        for part in torch.from_numpy(images).to(self.learner.device).split(self.chunk):
            for name, score in separation_scores(separator.waves(part.sum(1)), part).items():
                parts.setdefault(name, []).append(score)
        means = {f"separator/{name}": torch.cat(scores).nanmean().item() for name, scores in parts.items()}
        return {name: mean for name, mean in means.items() if not np.isnan(mean)}
