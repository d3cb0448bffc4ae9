"""Training of an agent that finds sounding sources: deep Q-learning, which may reach into its separator."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Optional, Sequence
from zipfile import BadZipFile

import numpy as np
import torch
from yacs.config import CfgNode

from audio_separation.envs.audition.build import build_envs
from audio_separation.errors import UserError
from audio_separation.models.audition.build import build_agent
from audio_separation.rl.dqn import epsilon_at, times_due
from audio_separation.rl.replay import ReplayBuffer
from audio_separation.training.checkpoint import (
    link_best,
    load_state,
    require,
    restore,
    save_checkpoint,
)
from audio_separation.training.distributed import World
from audio_separation.training.dqn_learner import DqnLearner
from audio_separation.training.dqn_players import Player
from audio_separation.training.dqn_validation import Validation
from audio_separation.training.logging import MetricWriter, drop_after
from audio_separation.training.run_dir import Progress, StopRequest, claim_run_dir, plain_config, writing
from audio_separation.training.separator_weights import load_separator_weights
from audio_separation.training.stages import Stages

ACTING, SAMPLING = 0, 1  # second word of the seeds of what chance decides
LOG_EVERY = 100  # steps between lines of metrics.jsonl
EPISODES = "episodes.jsonl"
ROLLOUT = ("reward", "success", "steps", "found", "initial_distance_m")
SHOWN = ("rollout/reward", "rollout/success", "policy/epsilon", "policy/loss", "val/success")
NEEDED = ("num_envs", "learner", "step", "counters", "players", "window", "validations", "replay")


class DqnTrainer:
    """Plays, learns and validates in turn; resumes from ``state.pth`` and the replay buffer of its model dir.

    A resumed run is the same as one that was never stopped. What chance decides follows from SEED and the counts of
    steps and updates; episodes under way are played again from their first action, without rendering.

    The model dir holds ``metrics.jsonl`` (means since the line before), ``episodes.jsonl`` (a line for each training
    episode that has ended), ``ckpt/ckpt.<step>.pth`` of every validation, and ``best.pth``, the one with the highest
    success rate, among equals with the highest reward.

    Raises:
        UserError: for another task, several processes, or bad data.
    """

    def __init__(self, config: CfgNode, model_dir: Path, world: World):
        _check(config, world)
        self.config, self.dir, self.world = config, Path(model_dir), world
        self.players = [Player(env) for env in build_envs(config, config.NUM_PROCESSES)]
        self.num_actions = int(self.players[0].env.action_space.n)  # type: ignore[attr-defined]
        torch.manual_seed(config.SEED)
        self.agent = build_agent(config, self.num_actions).to(world.device)
        self.learner = DqnLearner(config, self.agent, world.device)
        self.buffer = ReplayBuffer(
            config.DQN.BUFFER,
            len(self.players),
            config.DQN.BALANCED,
            Path(config.DQN.BUFFER_DIR) if config.DQN.BUFFER_DIR else None,
        )
        # what a frozen separator makes of an observation never changes, so that is kept instead of the sound
        self._keeps_cues = config.AUDITION.SEPARATOR.FROZEN
        self.validation: Optional[Validation] = None
        self.step = 0  # of all environments together
        self.counters = {"episodes": 0, "logged": 0, "validated": 0}
        self.window: dict[str, list[float]] = {}  # values since the last line of metrics
        self.validations: list[dict[str, Any]] = []
        self.stages = Stages(world.device)

    # ---- the loop -----------------------------------------------------------------------------------
    def run(self, stop: StopRequest) -> int:
        """Train to ``DQN.NUM_STEPS``, rounded up to a step of every environment.

        Returns:
            The exit status: 0, or that of the signal that stopped it.
        """
        state = load_state(self.dir / "state.pth", self.world)
        checkpoint = self.config.AUDITION.SEPARATOR.CHECKPOINT
        if (
            state is None and checkpoint
        ):  # before the model dir is claimed: a wrong path leaves nothing behind
            load_separator_weights(self.agent.separator, Path(checkpoint), self.config)
            self.learner.begin_from_agent()
        claim_run_dir(self.dir, self.config)
        finished = self._resume(state) if state is not None else False
        del state  # another copy of all weights and moments
        if finished:
            return 0
        with writing(self.dir):
            drop_after(self.dir / EPISODES, self.step, "env_step")
        if not self.step:
            self._begin(range(len(self.players)))
        return self._train(stop)

    def _train(self, stop: StopRequest) -> int:
        total = self.config.DQN.NUM_STEPS
        writer = MetricWriter(self.dir, self.step, enabled=True)
        progress = Progress("train", "steps", total, self.step, self.config.VERBOSE)
        while stop.signal is None and (self.step < total or self._validation_due()):
            scores: dict[str, float] = {}
            if self._validation_due():
                with self.stages("validation"):
                    scores = self._validate(stop)
                if not scores:  # a signal came
                    break
            else:
                self._advance()
                if self._validation_due() or not times_due(self.counters["logged"], self.step, LOG_EVERY):
                    continue
            metrics = {**self._take_window(), **scores}
            rate = progress.rate(self.step)
            writer.write(self.step, metrics, {"time/steps_per_s": rate, **self.stages.take()})
            progress.line(self.step, **{k.split("/", 1)[1]: v for k, v in metrics.items() if k in SHOWN})
            if scores and self.step < total:
                self._save_state()
        writer.close()
        if self.step < total or self._validation_due():
            self._save_state()
            return stop.exit_code
        self._finish()
        return 0

    def _validation_due(self) -> bool:
        before = self.counters["validated"]
        last = self.step >= self.config.DQN.NUM_STEPS and before < self.step
        return last or times_due(before, self.step, self.config.DQN.VAL_EVERY) > 0

    # ---- play ---------------------------------------------------------------------------------------
    def _advance(self) -> None:
        """A step of every environment, and the updates that are due."""
        dqn, before = self.config.DQN, self.step
        with self.stages("act"):
            actions = self._actions()
        with self.stages("environment"):
            steps = [player.step(int(action)) for player, action in zip(self.players, actions)]
        self.step += len(steps)
        observations = self._stored([step.observation for step in steps])
        for env, (action, step, observation) in enumerate(zip(actions, steps, observations)):
            self.buffer.add(env, int(action), step.reward, step.terminated, observation)
        ended = [env for env, step in enumerate(steps) if step.ended]
        self._record(ended)
        self._begin(ended)
        if self.step < dqn.START_STEPS:
            return
        with self.stages("update"):
            for _ in range(times_due(before, self.step, dqn.UPDATE_EVERY)):
                self._update()
        if dqn.TARGET == "hard" and times_due(before, self.step, dqn.TARGET_EVERY):
            self.learner.copy_to_target()

    def _actions(self) -> np.ndarray:
        """Of every environment ``[E]``: at random with the chance that is due, else the best."""
        envs, epsilon = len(self.players), self._epsilon()
        rng = np.random.default_rng((self.config.SEED, ACTING, self.step))
        at_random = rng.random(envs) < epsilon
        actions = rng.integers(self.num_actions, size=envs)
        greedy = np.flatnonzero(~at_random)
        if len(greedy):
            actions[greedy] = self.learner.best_actions(self.buffer.current(greedy))
        return actions

    def _epsilon(self) -> float:
        dqn = self.config.DQN
        if self.step < dqn.START_STEPS:
            return 1.0
        return epsilon_at(
            self.step - dqn.START_STEPS,
            dqn.EPSILON_START,
            dqn.EPSILON_END,
            dqn.EPSILON_STEPS,
            dqn.EPSILON_DECAY,
        )

    def _begin(self, envs: Sequence[int]) -> None:
        """Begin the next episodes of the split in ``envs``."""
        if not envs:
            return
        first = self.counters["episodes"]
        with self.stages("environment"):
            begun = [self.players[env].begin(number) for number, env in enumerate(envs, start=first)]
        self.counters["episodes"] += len(envs)
        for env, observation in zip(envs, self._stored(begun)):
            self.buffer.begin(env, observation)

    def _stored(self, observations: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """What the buffer keeps of observations."""
        if not self._keeps_cues:
            return observations
        with self.stages("act"):
            cues = self.learner.cues(np.stack([observation["audio"] for observation in observations]))
        return [
            {"cues": row, **{name: part for name, part in observation.items() if name != "audio"}}
            for row, observation in zip(cues, observations)
        ]

    def _update(self) -> None:
        rng = np.random.default_rng((self.config.SEED, SAMPLING, self.learner.updates))
        metrics = self.learner.update(self.buffer.sample(self.config.DQN.BATCH, rng))
        self._note({f"policy/{name}": value for name, value in metrics.items()})

    # ---- records ------------------------------------------------------------------------------------
    def _note(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.window.setdefault(name, []).append(float(value))

    def _take_window(self) -> dict[str, float]:
        """Means of what was noted since the last time."""
        means = {name: float(np.mean(values)) for name, values in self.window.items()}
        self.window = {}
        self.counters["logged"] = self.step
        return {**means, "policy/epsilon": self._epsilon()}

    def _record(self, ended: Sequence[int]) -> None:
        """Write the lines of episodes that have ended."""
        for env in ended:
            summary = self.players[env].summary()
            with writing(self.dir), open(self.dir / EPISODES, "a") as file:
                file.write(json.dumps({**summary, "env_step": self.step}) + "\n")
            self._note({f"rollout/{name}": summary[name] for name in ROLLOUT})

    def _validate(self, stop: StopRequest) -> dict[str, float]:
        """Validate and write a checkpoint, the best of all so far by ``best.pth``; nothing where a signal came."""
        if self.validation is None:
            self.validation = Validation(self.config, self.learner, len(self.players))
        scores = self.validation.run(stop)
        if scores is None:
            return {}
        name = f"ckpt/ckpt.{self.step}.pth"
        save_checkpoint(self.dir / name, self._content())
        self.validations.append(
            {"checkpoint": name, "value": scores["val/success"], "reward": scores["val/reward"]}
        )
        best = max(self.validations, key=lambda v: (v["value"], v["reward"]))
        link_best(
            self.dir,
            {**best, "metric": "success", "split": "val", "sounds": self.config.DATA.SOUNDS,
             "candidates": self.validations},
        )  # fmt: skip
        self.counters["validated"] = self.step
        return scores

    # ---- state --------------------------------------------------------------------------------------
    def _content(self) -> dict[str, Any]:
        return {
            "kind": "dqn",
            "agent": self.learner.judged.state_dict(),
            "config": plain_config(self.config),
            "step": self.step,
            "num_actions": self.num_actions,
        }

    def _save_state(self) -> None:
        """Write the replay buffer, then the state that names it, then remove the former buffer."""
        name = f"replay.{self.step}.npz"
        temporary = self.dir / f".{name}.tmp"
        with writing(self.dir / name):
            with open(temporary, "wb") as file:
                self.buffer.save(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.dir / name)
        self._write_state(name)

    def _finish(self) -> None:
        """Write the last state, without the buffer, which nobody needs any more."""
        self._write_state("")
        self.buffer.discard()

    def _write_state(self, replay: str) -> None:
        content = {
            **self._content(),
            "num_envs": len(self.players),
            "learner": self.learner.state_dict(),
            "counters": self.counters,
            "players": [{"number": player.number, "actions": player.actions} for player in self.players],
            "window": self.window,
            "validations": self.validations,
            "replay": replay,
        }
        save_checkpoint(self.dir / "state.pth", content)
        for old in self.dir.glob("*replay.*.npz*"):
            if old.name != replay:
                old.unlink()

    def _resume(self, content: dict[str, Any]) -> bool:
        """Go on from a state; returns whether that run has ended."""
        path = self.dir / "state.pth"
        require(content, NEEDED, path)
        if content["num_envs"] != len(self.players):
            raise UserError(
                f"{path} was trained with NUM_PROCESSES {content['num_envs']}, now it is {len(self.players)}; resume "
                "with the same number"
            )
        restore(self.learner.judged, content, "agent", path)  # a sentence where the networks do not fit
        self.learner.load_state_dict(content["learner"])
        for name in ("step", "counters", "window", "validations"):
            setattr(self, name, content[name])
        if not content["replay"]:
            return True
        self._load_buffer(self.dir / content["replay"])
        for player, played in zip(self.players, content["players"]):
            player.resume(played["number"], played["actions"])
        return False

    def _load_buffer(self, path: Path) -> None:
        try:
            with np.load(path) as stored:
                self.buffer.load(stored)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):
            what = "is damaged" if path.exists() else "is missing"
            raise UserError(
                f"the replay buffer {path} {what}, which state.pth goes on with; put it back, or begin again in a new "
                "--model-dir"
            ) from None


def _check(config: CfgNode, world: World) -> None:
    if config.TASK.NAME != "audition":
        raise UserError(
            f"TRAINER dqn learns TASK.NAME audition, found {config.TASK.NAME!r}; use configs/audition/otoworld.yaml or "
            "configs/audition/auralnav.yaml"
        )
    if world.size > 1:
        raise UserError(
            f"TRAINER dqn runs in one process, found {world.size}; start it without torchrun, and run other seeds "
            "beside it"
        )
