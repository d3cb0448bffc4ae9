"""bfloat16 beside float32 on tiny networks."""

from __future__ import annotations

import pytest
import torch
from small_config import NoStop, small_config

from audio_separation.errors import UserError
from audio_separation.models.precision import full_precision, network_precision
from audio_separation.training.active import ActiveTrainer
from audio_separation.training.distributed import World
from audio_separation.training.logging import read_metrics
from audio_separation.training.passive import PassiveTrainer

CPU = torch.device("cpu")
ONE = World(rank=0, size=1, local_rank=0, local_size=1, device=CPU)
# bfloat16 keeps 8 bits: 0.4 % a value; errors of single values average out in a loss
TOLERANCE = 0.02


def run(trainer_class, config, folder, precision):
    config = config.clone()
    config.defrost()
    config.TRAIN.PRECISION = precision
    trainer = trainer_class(config, folder / precision, ONE)
    assert trainer.run(NoStop()) == 0
    return trainer, read_metrics(folder / precision / "metrics.jsonl")


def test_pretraining_in_bf16_learns_as_in_fp32(tiny, tmp_path):
    config = small_config(tiny, TRAINER="passive", PASSIVE__NUM_STEPS=6, PASSIVE__VAL_EVERY=2)
    trainer, half = run(PassiveTrainer, config, tmp_path, "bf16")
    _, full = run(PassiveTrainer, config, tmp_path, "fp32")
    assert all(
        p.dtype == torch.float32 for p in trainer.separator.state_dict().values() if p.is_floating_point()
    )
    assert half != full
    for a, b in zip(half, full):
        for key in ("separator/bin_loss", "separator/mono_loss", "val_unheard/stft_l2"):
            assert a[key] == pytest.approx(b[key], rel=TOLERANCE), key


def test_active_training_in_bf16_learns_as_in_fp32(active_config, tmp_path):
    trainer, half = run(ActiveTrainer, active_config, tmp_path, "bf16")
    _, full = run(ActiveTrainer, active_config, tmp_path, "fp32")
    assert all(p.dtype == torch.float32 for p in trainer.agent.parameters())
    rollout, _ = trainer.collect()
    for name in ("bin_mag", "mono_mag", "refined", "log_prob", "values", "rewards"):
        assert getattr(rollout, name).dtype == torch.float32, name
    assert half != full
    # the same actions are drawn as long as no probability moves past its uniform number
    for a, b in list(zip(half, full))[:3]:
        for key in ("rollout/reward", "rollout/refined_stft_l2", "separator/memory_loss", "policy/value"):
            assert a[key] == pytest.approx(b[key], rel=TOLERANCE), key


def test_parts_that_ask_for_it_stay_in_full_precision():
    x = torch.randn(4, 4)
    with network_precision("bf16", CPU):
        assert (x @ x).dtype == torch.bfloat16
        with full_precision(CPU):
            assert (x @ x).dtype == torch.float32
    with network_precision("fp32", CPU):
        assert (x @ x).dtype == torch.float32


def test_unknown_precision_is_refused(tiny):
    with pytest.raises(UserError, match=r"TRAIN\.PRECISION must be one of fp32, bf16, found 'fp16'"):
        small_config(tiny, TRAIN__PRECISION="fp16")
