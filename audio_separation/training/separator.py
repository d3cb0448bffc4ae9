"""Supervised training of the audition tasks' separators, on rendered rooms: what learning from rewards is held against.

Each example is a place (a room with sources and an agent), whose responses are simulated once, heard with clips that
are drawn anew each time. Targets are the sources' images, averaged over the ears.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

import torch
from torch import Tensor
from yacs.config import CfgNode

from audio_separation.audio.ideal_mask import ideal_mask_waves
from audio_separation.audio.separation_scores import separation_scores
from audio_separation.errors import UserError
from audio_separation.models.audition.build import build_separator
from audio_separation.models.precision import network_precision
from audio_separation.training.checkpoint import load_state, require, restore, save_checkpoint
from audio_separation.training.distributed import World
from audio_separation.training.logging import MetricWriter
from audio_separation.training.run_dir import Progress, StopRequest, claim_run_dir, plain_config
from audio_separation.training.separator_data import Places, draw_examples
from audio_separation.training.separator_loss import l1_loss, si_sdr_loss
from audio_separation.training.separator_weights import load_separator_weights

TRAINING, VALIDATION = 0, 1  # second word of the seeds of examples
BEST = "val_unheard/si_sdr_improvement_db"
IDEAL = ("si_sdr_db", "si_sdr_improvement_db")  # scores of the ideal ratio mask that are told


class ValidationSet(NamedTuple):
    """Fixed examples in rooms of the split val."""

    name: str
    images: Tensor  # [B, S, C, L], in main memory
    reference: dict[str, float]  # scores that do not change: those of the ideal ratio mask


class SeparatorTrainer:
    """Trains the separator of ``AUDITION.SEPARATOR``; resumes from ``state.pth`` of its model dir.

    Raises:
        UserError: for another task, several processes, or bad data.
    """

    def __init__(self, config: CfgNode, model_dir: Path, world: World):
        _check(config, world)
        self.config, self.dir, self.world = config, Path(model_dir), world
        self.settings = config.AUDITION.PRETRAIN
        self.places = Places(config, config.DATA.SPLIT, config.DATA.SOUNDS, self.settings.PLACES)
        torch.manual_seed(config.SEED)
        self.separator = build_separator(config).to(world.device)
        self.optimizer = torch.optim.Adam(self.separator.parameters(), lr=self.settings.LR)
        self.validation: list[ValidationSet] = []
        self.step = 0
        self.best = -math.inf

    # ---- the loop -----------------------------------------------------------------------------------
    def run(self, stop: StopRequest) -> int:
        """Train to ``PRETRAIN.NUM_STEPS``; returns the exit status (0, or that of the signal that stopped it)."""
        state = load_state(self.dir / "state.pth", self.world)
        checkpoint = self.config.AUDITION.SEPARATOR.CHECKPOINT
        if state is None and checkpoint:
            load_separator_weights(self.separator, Path(checkpoint), self.config)
        claim_run_dir(self.dir, self.config)
        self._resume(state)
        settings = self.settings
        writer = MetricWriter(self.dir, self.step, enabled=True)
        progress = Progress("separator", "steps", settings.NUM_STEPS, self.step, self.config.VERBOSE)
        while self.step < settings.NUM_STEPS:
            if stop.signal is not None:
                self._save("state.pth")
                break
            metrics = self._train_step()
            self.step += 1
            at_validation = self.step % settings.VAL_EVERY == 0 or self.step == settings.NUM_STEPS
            if at_validation:
                metrics.update(self._validate())
            if at_validation or self.step % 10 == 0:
                rate = progress.rate(self.step)
                timing = {"time/steps_per_s": rate, "time/samples_per_s": rate * settings.BATCH}
                writer.write(self.step, metrics, timing)
            if at_validation:
                self._save("state.pth")
            progress.line(self.step, **{k.split("/", 1)[1]: v for k, v in metrics.items()})
        writer.close()
        return stop.exit_code if self.step < settings.NUM_STEPS else 0

    def _train_step(self) -> dict[str, float]:
        settings = self.settings
        # all that chance decides follows from the step, so that a resumed run is the same
        examples = draw_examples(self.places, settings.BATCH, (self.config.SEED, TRAINING, self.step))
        torch.manual_seed(self.config.SEED * 1_000_003 + self.step)  # dropout
        images = examples.images(self.world.device)  # [B, S, C, L]
        mix, targets = images.sum(1), images.mean(2)
        self.separator.train()
        with network_precision(self.config.TRAIN.PRECISION, self.world.device):
            loss = self._loss(mix, targets)
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.separator.parameters(), settings.MAX_GRAD_NORM)
        self.optimizer.step()
        return {"separator/loss": loss.item(), "separator/grad_norm": norm.item()}

    def _loss(self, mix: Tensor, targets: Tensor) -> Tensor:
        """Of mixtures ``[B, C, L]`` and the sources' ears-mean images ``[B, S, L]``."""
        if self.settings.LOSS == "si_sdr":
            return si_sdr_loss(self.separator.waves(mix), targets)
        stft = self.separator.stft
        masks = self.separator.masks(mix, stft(mix))  # [B, S, F, N]
        mix_mag = stft(mix.mean(1)).abs()  # [B, F, N]
        return l1_loss(masks * mix_mag[:, None], stft(targets).abs(), mix_mag)

    # ---- validation ---------------------------------------------------------------------------------
    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Scores of both validation sets; keeps the best separator on unheard sounds in ``best.pth``."""
        if not self.validation:
            self.validation = [
                self._validation_set("heard", "train"),
                self._validation_set("unheard", "valUnheard"),
            ]
        self.separator.eval()
        metrics: dict[str, float] = {}
        for data in self.validation:
            scores = {
                **self._score(data.images, lambda images: self.separator.waves(images.sum(1))),
                **data.reference,
            }
            metrics.update({f"val_{data.name}/{key}": value for key, value in scores.items()})
        if metrics[BEST] > self.best:
            self.best = metrics[BEST]
            self._save("best.pth")
        return metrics

    def _score(self, images: Tensor, separate: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Mean scores of estimates; ``separate`` makes waves ``[B, S, L]`` of images ``[B, S, C, L]``."""
        parts: dict[str, list[Tensor]] = {}
        for chunk in images.split(self.settings.BATCH):
            chunk = chunk.to(self.world.device)
            for key, value in separation_scores(separate(chunk), chunk).items():
                parts.setdefault(key, []).append(value)
        return {key: torch.cat(values).nanmean().item() for key, values in parts.items()}

    def _validation_set(self, name: str, sounds: str) -> ValidationSet:
        count = self.settings.VAL_SAMPLES
        places = Places(self.config, "val", sounds, count)
        images = draw_examples(places, count, (self.config.SEED, VALIDATION), in_order=True).images(
            torch.device("cpu")
        )
        ideal = self._score(images, lambda chunk: ideal_mask_waves(chunk, self.separator.stft))
        return ValidationSet(name, images, {f"ideal_mask_{key}": ideal[key] for key in IDEAL})

    # ---- state --------------------------------------------------------------------------------------
    def _save(self, name: str) -> None:
        content = {
            "kind": "separator",
            "separator": self.separator.state_dict(),
            "step": self.step,
            "best": self.best,
            "config": plain_config(self.config),
        }
        if name == "state.pth":
            content["optimizer"] = self.optimizer.state_dict()
        save_checkpoint(self.dir / name, content)

    def _resume(self, content: Optional[dict[str, Any]]) -> None:
        if content is None:
            return
        path = self.dir / "state.pth"
        require(content, ("optimizer", "step", "best"), path)
        restore(self.separator, content, "separator", path)
        self.optimizer.load_state_dict(content["optimizer"])
        self.step, self.best = content["step"], content["best"]


def _check(config: CfgNode, world: World) -> None:
    if config.TASK.NAME != "audition":
        raise UserError(
            f"TRAINER separator is of TASK.NAME audition, found {config.TASK.NAME!r}; set TASK.NAME audition"
        )
    if config.AUDITION.SOURCES < 2:
        raise UserError("config key AUDITION.SOURCES is 1, but a separator needs 2 or more; raise it")
    if world.size > 1:
        raise UserError(
            f"TRAINER separator trains in one process, found {world.size}; start it without torchrun and run seeds "
            "side by side"
        )
