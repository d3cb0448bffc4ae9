"""Pretraining of the passive separators (DESIGN section 7)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.audio.clips import ClipLibrary
from audio_separation.audio.metrics import stft_l2
from audio_separation.audio.render import BinauralRenderer
from audio_separation.envs.build import build_renderer, check_task, open_clips, use_scenes
from audio_separation.envs.rewards import mixture_estimate
from audio_separation.models.build import build_separator
from audio_separation.models.precision import network_precision
from audio_separation.models.separator import rms_level, separator_loss
from audio_separation.scenes.layout import paths_from_config
from audio_separation.scenes.passive import PassivePoints, load_passive, passive_scenes
from audio_separation.training import distributed
from audio_separation.training.checkpoint import load_state, require, restore, save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.logging import MetricWriter
from audio_separation.training.passive_data import PassiveBatch, draw_batch, hear_batch
from audio_separation.training.run_dir import Progress, StopRequest, claim_run_dir, plain_config

VALIDATION_SEED = 1  # second word of the seed of the fixed validation examples; training uses 0


class ValidationSet(NamedTuple):
    """Fixed examples in validation homes, heard or unheard sounds."""

    name: str
    renderer: BinauralRenderer
    batch: PassiveBatch  # this rank's part


class PassiveTrainer:
    """Trains the two separators on rendered places; resumes from ``state.pth`` of its model dir."""

    def __init__(self, config: CfgNode, model_dir: Path, world: World):
        check_task(config)
        self.config, self.dir, self.world = config, Path(model_dir), world
        if config.PASSIVE.BATCH % world.size or config.PASSIVE.VAL_SAMPLES % world.size:
            raise distributed.uneven("PASSIVE.BATCH and PASSIVE.VAL_SAMPLES", world)
        self.points = self._load_points(config.DATA.SPLIT)
        self.clips = open_clips(config)
        self.renderer = build_renderer(config, self.clips, world.device)
        val_points = self._load_points("val")
        self.validation = [
            self._validation_set("heard", val_points, self.clips),
            self._validation_set("unheard", val_points, open_clips(config, "valUnheard")),
        ]
        torch.manual_seed(config.SEED)
        self.separator = build_separator(config, len(self.clips.classes)).to(world.device)
        distributed.synchronise_batchnorm(self.separator)
        self.optimizer = torch.optim.Adam(
            self.separator.parameters(), lr=config.PASSIVE.LR, eps=config.PASSIVE.EPS
        )
        self.step = 0
        self.best = math.inf

    # ---- the loop -----------------------------------------------------------------------------------
    def run(self, stop: StopRequest) -> int:
        """Train to ``PASSIVE.NUM_STEPS``; returns the exit status (0, or that of the signal that stopped it)."""
        state = load_state(self.dir / "state.pth", self.world)
        distributed.on_main(lambda: claim_run_dir(self.dir, self.config))
        self._resume(state)
        del state  # another copy of all weights and moments
        passive, device = self.config.PASSIVE, self.world.device
        writer = MetricWriter(self.dir, self.step, self.world.is_main)
        progress = Progress(
            "pretrain", "steps", passive.NUM_STEPS, self.step, self.config.VERBOSE and self.world.is_main
        )
        while self.step < passive.NUM_STEPS:
            if distributed.any_rank(stop.signal is not None, device):
                self._save("state.pth")
                break
            metrics = self._train_step()
            self.step += 1
            at_validation = self.step % passive.VAL_EVERY == 0 or self.step == passive.NUM_STEPS
            if at_validation:
                metrics.update(self._validate())
            if at_validation or self.step % 10 == 0:
                rate = progress.rate(self.step)
                writer.write(
                    self.step, metrics, {"time/steps_per_s": rate, "time/samples_per_s": rate * passive.BATCH}
                )
            if at_validation:
                self._save("state.pth")
            shown = {k.split("/", 1)[1]: v for k, v in metrics.items()}
            progress.line(self.step, **shown)
        writer.close()
        return stop.exit_code if self.step < passive.NUM_STEPS else 0

    def _train_step(self) -> dict[str, float]:
        passive, device = self.config.PASSIVE, self.world.device
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        # every rank draws the whole batch and renders its own part
        rng = np.random.default_rng((self.config.SEED, 0, self.step))
        batch = draw_batch(self.points, self.clips, passive.BATCH, rng).part(self.world.slice(passive.BATCH))
        heard = hear_batch(self.renderer, batch)
        self.separator.train()
        with network_precision(self.config.TRAIN.PRECISION, device):
            output = self.separator(heard.mix_logmag, torch.from_numpy(batch.labels).to(device))
        # the level-blind variant is also judged level-blind, else loud mixtures would be all that counts
        level = rms_level(torch.expm1(heard.mix_logmag)) if self.separator.variant == "masked" else None
        assert heard.target_bin_mag is not None
        bin_loss, mono_loss = separator_loss(
            output, heard.target_bin_mag, heard.target_mono_mag, passive.LOSS, level
        )
        self.optimizer.zero_grad()
        (bin_loss + mono_loss).backward()
        distributed.average_gradients(self.separator.parameters())
        norm = torch.nn.utils.clip_grad_norm_(self.separator.parameters(), passive.MAX_GRAD_NORM)
        self.optimizer.step()
        losses = {"separator/bin_loss": bin_loss.item(), "separator/mono_loss": mono_loss.item()}
        return {**distributed.mean_metrics(losses, device), "separator/grad_norm": norm.item()}

    def _learning_rate(self) -> float:
        passive = self.config.PASSIVE
        if not passive.LR_DECAY:
            return passive.LR
        return passive.LR * 0.5 * (1 + math.cos(math.pi * self.step / passive.NUM_STEPS))

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Scores of both validation sets; keeps the best separator on unheard sounds in ``best.pth``."""
        self.separator.eval()
        metrics: dict[str, float] = {}
        for data in self.validation:
            scores: dict[str, list[Tensor]] = {}
            chunk = max(1, self.config.PASSIVE.BATCH // self.world.size)
            for start in range(0, len(data.batch.labels), chunk):
                for key, value in self._score(data, data.batch.part(slice(start, start + chunk))).items():
                    scores.setdefault(key, []).append(value)
            metrics.update(
                {f"val_{data.name}/{key}": torch.cat(v).mean().item() for key, v in scores.items()}
            )
        metrics = distributed.mean_metrics(metrics, self.world.device)
        if metrics["val_unheard/stft_l2"] < self.best:
            self.best = metrics["val_unheard/stft_l2"]
            self._save("best.pth")
        return metrics

    def _score(self, data: ValidationSet, batch: PassiveBatch) -> dict[str, Tensor]:
        """Scores ``[B]`` of each example."""
        heard = hear_batch(data.renderer, batch)
        output = self.separator(heard.mix_logmag, torch.from_numpy(batch.labels).to(self.world.device))
        mix_mag, target = torch.expm1(heard.mix_logmag), heard.target_mono_mag
        mixture = mixture_estimate(mix_mag, self.config.AUDIO.TARGET_MONO_RMS)
        return {
            "stft_l2": stft_l2(output.mono_mag, target),
            "mixture_stft_l2": stft_l2(mixture, target),
            "bin_l1": (output.bin_mag - heard.target_bin_mag).abs().mean((1, 2, 3)),
            "mono_l1": (output.mono_mag - target).abs().mean((1, 2, 3)),
        }

    # ---- data and state -----------------------------------------------------------------------------
    def _load_points(self, split: str) -> PassivePoints:
        paths = paths_from_config(self.config)
        found = passive_scenes(paths.passive_root, split)
        scenes = use_scenes(self.config, split, found, paths.passive(split), views=False)
        return load_passive(paths.passive_root, split, sorted(scenes), self.config.PASSIVE.POINTS_PER_SCENE)

    def _validation_set(self, name: str, points: PassivePoints, clips: ClipLibrary) -> ValidationSet:
        count = self.config.PASSIVE.VAL_SAMPLES
        rng = np.random.default_rng((self.config.SEED, VALIDATION_SEED))
        batch = draw_batch(points, clips, count, rng).part(self.world.slice(count))
        return ValidationSet(name, build_renderer(self.config, clips, self.world.device), batch)

    def _save(self, name: str) -> None:
        if self.world.is_main:
            content = {
                "kind": "passive",
                "separator": self.separator.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "best": self.best,
                "classes": list(self.clips.classes),
                "config": plain_config(self.config),
            }
            save_checkpoint(self.dir / name, content)

    def _resume(self, content: Optional[dict[str, Any]]) -> None:
        if content is not None:
            path = self.dir / "state.pth"
            require(content, ("optimizer", "step", "best"), path)
            restore(self.separator, content, "separator", path)
            self.optimizer.load_state_dict(content["optimizer"])
            self.step, self.best = content["step"], content["best"]
        distributed.broadcast(self.separator)
