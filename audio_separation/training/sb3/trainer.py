"""Training of an agent by Stable-Baselines3 on the tasks of control."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Optional, Sequence

import gymnasium
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from yacs.config import CfgNode

from audio_separation.envs.control import NumberedEpisodes, build_control_env
from audio_separation.errors import UserError
from audio_separation.training.checkpoint import link_best, load_state, require, save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.logging import MetricWriter
from audio_separation.training.run_dir import Progress, StopRequest, claim_run_dir
from audio_separation.training.sb3.algorithms import build_algorithm, check_algorithm, check_training
from audio_separation.training.sb3.bundle import KIND, bundle
from audio_separation.training.sb3.callbacks import Evaluation, MetricsOutput, Saving
from audio_separation.training.sb3.state import apply, capture

NEEDED = ("training", "step", "evaluated", "validations")


class Sb3Trainer:
    """Learns with the library's own loop; resumes from ``state.pth`` of its model dir.

    A resumed run is the same as one that was never stopped. The model dir holds ``metrics.jsonl``, TensorBoard,
    ``ckpt/ckpt.<step>.pth`` of every evaluation on the split val, and ``best.pth``, the one with the highest success
    rate where the task knows success, among equals with the highest reward.

    Raises:
        UserError: for another task, several processes, an algorithm that does not fit, or bad data.
    """

    def __init__(self, config: CfgNode, model_dir: Path, world: World):
        if world.size > 1:
            raise UserError(
                f"TRAINER sb3 runs in one process, found {world.size}; start it without torchrun, and run other seeds "
                "beside it"
            )
        self.config, self.dir, self.world = config, Path(model_dir), world
        self.envs = numbered_envs(config, "train", config.NUM_PROCESSES)
        check_algorithm(config, self.envs.observation_space, self.envs.action_space)
        check_training(config)
        self.validations: list[dict[str, Any]] = []

    def run(self, stop: StopRequest) -> int:
        """Train to ``SB3.NUM_STEPS``, rounded up to a whole rollout.

        Returns:
            The exit status: 0, or that of the signal that stopped it.
        """
        sb3 = self.config.SB3
        stored = load_state(self.dir / "state.pth", self.world)
        claim_run_dir(self.dir, self.config)
        if stored is not None:
            require(stored, NEEDED, self.dir / "state.pth")
            if stored["training"] is None:  # it has ended
                return 0
        self.model = build_algorithm(self.config, self.envs, self.world.device)
        begun = stored["step"] if stored else 0
        writer = MetricWriter(self.dir, begun, enabled=True)
        progress = Progress("train", "steps", sb3.NUM_STEPS, begun, self.config.VERBOSE)
        self.model.set_logger(Logger(None, [MetricsOutput(writer, progress)]))
        judged = validation_envs(self.config)
        self.evaluation = Evaluation(judged, sb3.EVAL_EVERY, sb3.EVAL_EPISODES, self._keep)
        saving = Saving(sb3.SAVE_EVERY, self._save_state, stop)
        if stored is not None:
            self._resume(stored)
            saving.saved = begun
        self.model.learn(
            sb3.NUM_STEPS - self.model.num_timesteps,
            callback=[saving, self.evaluation],
            log_interval=1 if sb3.ALGORITHM in ("PPO", "A2C") else 4 * self.envs.num_envs,
            reset_num_timesteps=False,
        )
        if saving.stopped:
            writer.close()
            return stop.exit_code
        if self.evaluation.evaluated < self.model.num_timesteps:
            self.evaluation.evaluate()
        self._write_state(None)
        writer.close()
        return 0

    # ---- what is kept -------------------------------------------------------------------------------
    def _keep(self, step: int, reward: float, success: Optional[float]) -> None:
        """Write the checkpoint of an evaluation, and link the best so far."""
        name = f"ckpt/ckpt.{step}.pth"
        save_checkpoint(self.dir / name, bundle(self.config, self.model.policy, step))
        self.validations.append({"checkpoint": name, "value": reward, "success": success})
        best = max(self.validations, key=lambda v: (v["success"] or 0.0, v["value"]))
        link_best(self.dir, {**best, "metric": "reward", "split": "val", "candidates": self.validations})

    def _save_state(self) -> None:
        self._write_state(capture(self.model, self.envs))

    def _write_state(self, training: Optional[dict[str, Any]]) -> None:
        """``training`` is None when there is nothing left to go on with."""
        content = {
            "kind": f"{KIND} state",
            "training": training,
            "step": self.model.num_timesteps,
            "evaluated": self.evaluation.evaluated,
            "validations": self.validations,
            "table": self._table_hash(),
        }
        save_checkpoint(self.dir / "state.pth", content)

    def _table_hash(self) -> str:
        """Of the synthesizer's lookup table; empty where the task has none."""
        world = getattr(self.envs.get_attr("unwrapped", 0)[0], "world", None)
        return "" if world is None else world.table.hash

    def _resume(self, stored: dict[str, Any]) -> None:
        self.validations = stored["validations"]
        self.evaluation.evaluated = stored["evaluated"]
        episodes = len(stored["training"]["episodes"])
        if episodes != self.envs.num_envs:
            raise UserError(
                f"{self.dir / 'state.pth'} was trained with NUM_PROCESSES {episodes}, now it is {self.envs.num_envs}; "
                "resume with the same number"
            )
        known, found = stored.get("table", ""), self._table_hash()
        if known and known != found:
            raise UserError(
                f"{self.dir / 'state.pth'} was trained with the lookup table {known[:12]}, found {found[:12]}; give "
                "that one (SYNTH.TABLE), or another --model-dir"
            )
        apply(self.model, self.envs, stored["training"])


def numbered_envs(config: CfgNode, split: str, count: int) -> VecMonitor:
    """``count`` environments that play the episodes of ``split`` in turn."""

    return _side_by_side(config, split, range(count))


def validation_envs(config: CfgNode) -> VecMonitor:
    """At most ``NUM_PROCESSES`` environments whose ``SB3.EVAL_EPISODES`` are the first of the split val.

    Where the episodes do not divide evenly, the library has the last environments play one more than the first ones:
    so the last one begins with episode 0.
    """
    count = min(config.NUM_PROCESSES, config.SB3.EVAL_EPISODES)
    return _side_by_side(config, "val", range(count)[::-1])


def _side_by_side(config: CfgNode, split: str, firsts: Sequence[int]) -> VecMonitor:
    """An environment for each of ``firsts``, the episode that it begins with."""

    def maker(first: int) -> Callable[[], gymnasium.Env]:
        return lambda: NumberedEpisodes(build_control_env(config, split), first, len(firsts))

    return VecMonitor(DummyVecEnv([maker(first) for first in firsts]))
