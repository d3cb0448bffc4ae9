"""Training of the active agent: PPO for the policy, supervised refinement for the memory, in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, Optional

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.envs.build import build_simulator, check_task, load_task_episodes
from audio_separation.envs.rewards import separation_reward
from audio_separation.errors import UserError
from audio_separation.models.agent import Agent, EpisodeMemory, shrink_images
from audio_separation.models.build import build_memory, build_policy, build_separator
from audio_separation.models.memory_loss import Targets, make_targets, make_windows, memory_loss
from audio_separation.models.precision import network_precision
from audio_separation.rl.gae import gae
from audio_separation.rl.ppo import PPOLoss, explained_variance, log_prob, ppo_loss, sample_actions
from audio_separation.training import distributed
from audio_separation.training.checkpoint import (
    check_classes,
    load_checkpoint,
    load_state,
    require,
    restore,
    save_checkpoint,
)
from audio_separation.training.distributed import World
from audio_separation.training.logging import MetricWriter
from audio_separation.training.rollout import Rollout, RolloutBuffer, episode_order
from audio_separation.training.run_dir import Progress, StopRequest, claim_run_dir, plain_config
from audio_separation.training.stages import Stages

SEPARATOR_KEYS = ("SEPARATOR.", "AUDIO.TARGET_MONO_RMS")  # what a pretraining fixes


def build_agent(config: CfgNode, classes: list[str], device: torch.device) -> Agent:
    """Make the agent that the config describes, with fresh weights drawn from ``SEED``."""
    torch.manual_seed(config.SEED)
    separator = build_separator(config, len(classes))
    return Agent(separator, build_memory(config), build_policy(config)).to(device)


def load_separator(agent: Agent, path: Path, classes: list[str], config: CfgNode) -> None:
    """Load pretrained separators from a pretraining's model dir or a ``.pth`` file.

    Raises:
        UserError: for a missing checkpoint, other sizes, or one that was trained on another corpus' classes.
    """
    path = distributed.from_main(lambda: path / "best.pth" if path.is_dir() else path)
    content = distributed.from_main(lambda: load_checkpoint(path))
    check_classes(content, classes, path, "pretrained")
    # the same tensors mean something else under another variant, mask or level
    trained = content.get("config", {})
    for key, value in plain_config(config).items():
        if key.startswith(SEPARATOR_KEYS) and trained.get(key, value) != value:
            raise UserError(
                f"checkpoint {path} was pretrained with {key} {trained[key]!r}, this run has {value!r}; "
                "use the same value in both"
            )
    restore(agent.separator, content, "separator", path)


class ActiveTrainer:
    """Collects rollouts and learns from them; resumes from ``state.pth`` of its model dir."""

    def __init__(self, config: CfgNode, model_dir: Path, world: World):
        check_task(config)
        self.config, self.dir, self.world = config, Path(model_dir), world
        if config.PPO.NUM_STEPS != config.TASK.EPISODE_STEPS:
            raise UserError(
                f"PPO.NUM_STEPS is {config.PPO.NUM_STEPS} and TASK.EPISODE_STEPS {config.TASK.EPISODE_STEPS}; a "
                "near-target rollout is one episode, so they must be equal"
            )
        self.episodes = load_task_episodes(config)
        self.num_envs = config.NUM_PROCESSES
        self.simulator = build_simulator(
            config,
            self.episodes,
            self.num_envs,
            world.device,
            target_bin=False,
            images=config.POLICY.VISION != "none",
        )
        classes = self.simulator.clips.classes
        self.agent = build_agent(config, classes, world.device)
        self.policy_optimizer = torch.optim.Adam(
            self.agent.policy.parameters(), lr=config.PPO.LR, eps=config.PPO.EPS, fused=True
        )
        self.memory_optimizer = torch.optim.Adam(
            self.agent.memory.parameters(),
            lr=config.MEMORY_UPDATE.LR,
            eps=config.MEMORY_UPDATE.EPS,
            fused=True,
        )
        self.update = 0
        self.stages = Stages(world.device)

    # ---- the loop -----------------------------------------------------------------------------------
    def run(self, stop: StopRequest) -> int:
        """Train to ``NUM_UPDATES``; returns the exit status (0, or that of the signal that stopped it)."""
        state = load_state(self.dir / "state.pth", self.world)
        if state is None:
            self._load_pretrained()  # before the model dir is claimed: a wrong path leaves nothing behind
        distributed.on_main(lambda: claim_run_dir(self.dir, self.config))
        self._resume(state)
        del state  # another copy of all weights and moments
        train, total = self.config.TRAIN, self.config.NUM_UPDATES
        frames = self.num_envs * self.world.size * self.config.PPO.NUM_STEPS
        writer = MetricWriter(self.dir, self.update, self.world.is_main)
        progress = Progress(
            "train", "updates", total, self.update, self.config.VERBOSE and self.world.is_main
        )
        while self.update < total:
            if distributed.any_rank(stop.signal is not None, self.world.device):
                self._save("state.pth")
                break
            metrics = self.learn()
            self.update += 1
            metrics = distributed.mean_metrics(metrics, self.world.device)
            rate = progress.rate(self.update)
            writer.write(
                self.update,
                metrics,
                {"time/updates_per_s": rate, "time/frames_per_s": rate * frames, **self.stages.take()},
            )
            if self.update % train.CHECKPOINT_EVERY == 0 or self.update == total:
                self._save(f"ckpt/ckpt.{self.update}.pth")
            if self.update % train.SAVE_EVERY == 0 or self.update == total:
                self._save("state.pth")
            progress.line(
                self.update,
                frames_per_s=rate * frames,
                reward=metrics["rollout/reward"],
                refined=metrics["rollout/refined_stft_l2"],
                passive=metrics["rollout/passive_stft_l2"],
            )
        writer.close()
        return stop.exit_code if self.update < total else 0

    def learn(self) -> dict[str, float]:
        """One update: play a rollout, learn from it and forget it."""
        rollout, metrics = self.collect()
        with self.stages("ppo_update"):
            metrics.update(self.update_policy(rollout))
        with self.stages("memory_update"):
            metrics.update(self.update_separator(rollout))
        return metrics

    # ---- collect ------------------------------------------------------------------------------------
    @torch.no_grad()
    def collect(self) -> tuple[Rollout, dict[str, float]]:
        """Play one episode in every environment with the current policy."""
        config, steps_count = self.config, self.config.PPO.NUM_STEPS
        everywhere = self.num_envs * self.world.size
        mine = self.world.slice(everywhere)
        order = episode_order(len(self.episodes), self.update, everywhere, config.SEED)[mine]
        uniform = np.random.default_rng((config.SEED, 3, self.update)).random((steps_count, everywhere))[
            :, mine
        ]
        draws = torch.from_numpy(uniform).to(self.world.device)
        self.agent.eval()
        memory = EpisodeMemory(self.agent.memory, config.MEMORY.SIZE)
        hidden = self.agent.policy.initial_hidden(self.num_envs)
        going = torch.ones(self.num_envs, device=self.world.device)  # hidden is fresh, nothing to forget
        buffer = RolloutBuffer(steps_count)
        with self.stages("render"):
            observation = self.simulator.reset([self.episodes[i] for i in order])
        for t in range(steps_count):
            with self._networks():
                with self.stages("separator"):
                    heard = self.agent.listen(observation.mix_logmag, observation.target_class)
                with self.stages("memory"):
                    refined = memory.add(heard.mono_mag)[:, -1]
                with self.stages("policy"):
                    rgb, depth = shrink_images(
                        observation.rgb, observation.depth, config.POLICY.VISION, config.POLICY.IMAGE_SIZE
                    )
                    output = self.agent.policy(rgb, depth, heard.bin_mag, refined, hidden, going)
            actions = sample_actions(output.logits, draws[t])
            hidden = output.hidden
            buffer.write(
                t, rgb=rgb, depth=depth, bin_mag=heard.bin_mag, mono_mag=heard.mono_mag, refined=refined,
                target_mono_mag=observation.target_mono_mag, actions=actions,
                log_prob=log_prob(output.logits, actions), values=output.value,
            )  # fmt: skip
            if t + 1 < steps_count:  # what the last action leads to is never scored
                with self.stages("render"):
                    observation = self.simulator.step(actions.cpu().numpy())
        rollout = buffer.rollout(torch.zeros(0))
        # the action at t is rewarded for the estimate at t + 1; the last one earns nothing
        quality = separation_reward(rollout.refined, rollout.target_mono_mag)
        rollout = rollout._replace(rewards=torch.cat([quality[1:], torch.zeros_like(quality[:1])]))
        return rollout, self._rollout_metrics(rollout)

    def _rollout_metrics(self, rollout: Rollout) -> dict[str, float]:
        def stft_l2(estimate: Tensor) -> float:  # half the MSE of magnitudes
            return 0.5 * (estimate - rollout.target_mono_mag).square().mean().item()

        return {
            "rollout/reward": rollout.rewards.sum(0).mean().item(),
            "rollout/refined_stft_l2": stft_l2(rollout.refined),
            "rollout/passive_stft_l2": stft_l2(rollout.mono_mag),
            "rollout/target_distance_end_m": float(self.simulator.target_distance().mean()),
            "rollout/forward_fraction": (rollout.actions == 0).double().mean().item(),
        }

    # ---- learn --------------------------------------------------------------------------------------
    def update_policy(self, rollout: Rollout) -> dict[str, float]:
        """PPO epochs over the rollout."""
        ppo, agent = self.config.PPO, self.agent
        fraction = 1 - self.update / self.config.NUM_UPDATES
        for group in self.policy_optimizer.param_groups:
            group["lr"] = ppo.LR * (fraction if ppo.LR_DECAY else 1.0)
        clip = ppo.CLIP * (fraction if ppo.CLIP_DECAY else 1.0)
        # every episode ends with the rollout, so nothing follows its last step
        not_done = torch.ones_like(rollout.rewards)
        not_done[-1] = 0
        advantages, returns = gae(
            rollout.rewards,
            rollout.values,
            not_done,
            torch.zeros_like(rollout.values[0]),
            ppo.GAMMA,
            ppo.GAE_LAMBDA,
        )
        if ppo.NORMALIZE_ADVANTAGE:
            advantages = distributed.standardise(advantages)
        agent.train()
        sums: dict[str, float] = {}
        for epoch in range(ppo.EPOCHS):
            for index, weight in self._minibatches(epoch):
                # all of them in their order: no copy of the rollout
                batch = rollout if len(index) == self.num_envs else rollout.envs(index)
                parts = self._policy_step(batch, advantages[:, index], returns[:, index], clip, weight)
                for key, value in parts.items():
                    sums[key] = sums.get(key, 0.0) + value / (ppo.EPOCHS * ppo.MINIBATCHES)
        metrics = {f"policy/{key}": value for key, value in sums.items()}
        values, returns = (distributed.gather_envs(x) for x in (rollout.values, returns))
        metrics["policy/explained_variance"] = explained_variance(values, returns).item()
        return metrics

    def _minibatches(self, epoch: int) -> Iterator[tuple[Tensor, float]]:
        """This rank's share of each minibatch, which are drawn from the environments of all ranks.

        Yields local indices and the weight that makes the mean over the ranks that of the whole minibatch.
        """
        everywhere = self.num_envs * self.world.size
        order = np.random.default_rng((self.config.SEED, 4, self.update, epoch)).permutation(everywhere)
        mine = self.world.slice(everywhere)
        for members in np.array_split(order, self.config.PPO.MINIBATCHES):
            local = np.sort(members[(members >= mine.start) & (members < mine.stop)]) - mine.start
            weight = len(local) * self.world.size / len(members)
            yield torch.from_numpy(local).to(self.world.device), weight

    def _policy_step(
        self, batch: Rollout, advantages: Tensor, returns: Tensor, clip: float, weight: float
    ) -> dict[str, float]:
        """One gradient step; a rank without environments in the minibatch adds nothing but takes part."""
        ppo, policy = self.config.PPO, self.agent.policy
        self.policy_optimizer.zero_grad()
        envs = batch.rewards.shape[1]
        if envs:
            hidden = policy.initial_hidden(envs)
            going = torch.ones_like(batch.rewards)
            with self._networks():
                logits, values = policy.evaluate_sequence(
                    batch.rgb, batch.depth, batch.bin_mag, batch.refined, hidden, going
                )
            loss = ppo_loss(
                logits, values, batch.actions, batch.log_prob, advantages, returns,
                clip, ppo.VALUE_COEF, ppo.ENTROPY_COEF,
            )  # fmt: skip
            (loss.total * weight).backward()
            parts = {key: value.item() * weight for key, value in loss._asdict().items()}
        else:
            for parameter in policy.parameters():
                parameter.grad = torch.zeros_like(parameter)
            parts = dict.fromkeys(PPOLoss._fields, 0.0)
        norm = self._step(policy, self.policy_optimizer, ppo.MAX_GRAD_NORM)
        return {**parts, "grad_norm": norm}

    def update_separator(self, rollout: Rollout) -> dict[str, float]:
        """Supervised epochs of the memory: refined against true mono magnitude (the passive part is frozen)."""
        settings = self.config.MEMORY_UPDATE
        # [T, E, 1, F, N] -> [E, T, 1, F, N]
        mono, target = (x.transpose(0, 1) for x in (rollout.mono_mag, rollout.target_mono_mag))
        targets = make_targets(self.agent.memory, mono, target)
        if settings.LR_DECAY:
            for group in self.memory_optimizer.param_groups:
                group["lr"] = settings.LR * (1 - self.update / self.config.NUM_UPDATES)
        self.agent.train()
        losses, norm = [], 0.0
        for epoch in range(settings.EPOCHS):
            losses.append(self._memory_gradients(targets, self._memory_steps(epoch, mono.shape[1])))
            norm = self._step(self.agent.memory, self.memory_optimizer, settings.MAX_GRAD_NORM)
        return {
            "separator/memory_loss": losses[0],
            "separator/memory_loss_last_epoch": losses[-1],
            "separator/memory_grad_norm": norm,
        }

    def _memory_steps(self, epoch: int, num_steps: int) -> list[int]:
        """The steps from which this epoch looks back: all, or ``MEMORY_UPDATE.WINDOWS`` of them drawn anew."""
        count = self.config.MEMORY_UPDATE.WINDOWS
        if not 0 < count < num_steps:
            return list(range(num_steps))
        rng = np.random.default_rng((self.config.SEED, 5, self.update, epoch))
        return sorted(rng.choice(num_steps, count, replace=False).tolist())

    def _memory_gradients(self, targets: Targets, taus: list[int]) -> float:
        """Gradients of the memory loss over all environments, a few at a time to bound the memory used."""
        config, settings, loss_sum = self.config, self.config.MEMORY_UPDATE, 0.0
        envs, num_steps = targets.mono.shape[:2]
        windows = make_windows(
            taus, num_steps, config.MEMORY.SIZE, config.MEMORY.LOSS_STEPS, self.world.device
        )
        self.memory_optimizer.zero_grad()
        for begin in range(0, envs, settings.CHUNK):
            part = targets.episodes(slice(begin, begin + settings.CHUNK))
            with self._networks():
                loss = memory_loss(self.agent.memory, part, windows, settings.LOSS)
            share = len(part.mono) / envs
            (loss * share).backward()
            loss_sum += loss.item() * share
        return loss_sum

    def _step(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
        """Apply the gradients, averaged over the ranks and clipped; returns their norm before clipping."""
        with self.stages("communication"):
            distributed.average_gradients(module.parameters())
        norm = torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm)
        optimizer.step()
        return norm.item()

    def _networks(self) -> torch.autocast:
        return network_precision(self.config.TRAIN.PRECISION, self.world.device)

    # ---- state --------------------------------------------------------------------------------------
    def _save(self, name: str) -> None:
        if not self.world.is_main:
            return
        content = {
            "kind": "active",
            "agent": self.agent.state_dict(),
            "update": self.update,
            "classes": list(self.simulator.clips.classes),
            "config": plain_config(self.config),
        }
        if name == "state.pth":
            content.update(
                policy_optimizer=self.policy_optimizer.state_dict(),
                memory_optimizer=self.memory_optimizer.state_dict(),
                num_envs=self.num_envs * self.world.size,
            )
        save_checkpoint(self.dir / name, content)

    def _resume(self, content: Optional[dict[str, Any]]) -> None:
        if content is not None:
            path = self.dir / "state.pth"
            require(content, ("num_envs", "policy_optimizer", "memory_optimizer", "update"), path)
            if content["num_envs"] != self.num_envs * self.world.size:
                raise UserError(
                    f"{path} was trained with {content['num_envs']} environments over all processes, now there are "
                    f"{self.num_envs * self.world.size}; resume with the same product of NUM_PROCESSES and processes"
                )
            restore(self.agent, content, "agent", path)
            self.policy_optimizer.load_state_dict(content["policy_optimizer"])
            self.memory_optimizer.load_state_dict(content["memory_optimizer"])
            self.update = content["update"]
        distributed.broadcast(self.agent)

    def _load_pretrained(self) -> None:
        path = self.config.TRAIN.PASSIVE_CHECKPOINT
        if not path:
            raise UserError(
                "TRAIN.PASSIVE_CHECKPOINT is empty; pretrain the separators (configs/pretrain_passive.yaml) and give "
                "that model dir: TRAIN.PASSIVE_CHECKPOINT runs/passive"
            )
        load_separator(self.agent, Path(path), self.simulator.clips.classes, self.config)
