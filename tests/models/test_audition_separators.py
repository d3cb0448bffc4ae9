"""The separators of the audition tasks: masks, waves, chunks and sizes."""

from __future__ import annotations

import pytest
import torch

from audio_separation.audio.transform import Stft
from audio_separation.models.audition.dprnn import (
    PRESETS,
    DprnnSizes,
    DprnnTasNet,
    GlobalNorm,
    merge_chunks,
    split_chunks,
)
from audio_separation.models.audition.mask_network import MaskNetwork
from audio_separation.models.audition.separation import Separator

LITTLE = DprnnSizes(filters=8, kernel=16, features=6, hidden=5, chunk=10, blocks=2)
KINDS = ["logmag", "spatial", "dprnn"]


def _separator(kind: str, sources: int, dropout: float = 0.0) -> Separator:
    torch.manual_seed(0)
    stft = Stft(64, 16)
    if kind == "dprnn":
        return DprnnTasNet(sources, stft, LITTLE, dropout).eval()
    return MaskNetwork(sources, stft, kind, hidden=7, layers=2, dropout=dropout).eval()


def _mix(batch: int = 2, length: int = 517) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, length, generator=torch.Generator().manual_seed(1))


def _masks(separator: Separator, mix: torch.Tensor) -> torch.Tensor:
    return separator.masks(mix, separator.stft(mix))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sources", [1, 2, 3])
def test_masks_are_shares_and_waves_have_the_mixtures_length(kind: str, sources: int) -> None:
    separator, mix = _separator(kind, sources), _mix()
    masks, waves = _masks(separator, mix), separator.waves(mix)
    assert masks.shape == (2, sources, 33, 1 + 517 // 16)
    assert masks.min() >= 0 and masks.max() <= 1 + 1e-6
    torch.testing.assert_close(masks.sum(1), torch.ones_like(masks[:, 0]))
    assert waves.shape == (2, sources, 517) and waves.isfinite().all()


@pytest.mark.parametrize("kind", ["logmag", "spatial"])
def test_a_new_mask_network_has_nearly_even_masks(kind: str) -> None:
    for sources in (2, 3):
        masks = _masks(_separator(kind, sources), _mix())
        assert (masks - 1 / sources).abs().max() < 0.15
        assert masks.std() > 1e-4  # but not the same for every source, or they would never part


def test_waves_of_the_mask_network_add_up_to_the_mean_of_the_ears() -> None:
    mix = _mix()
    torch.testing.assert_close(_separator("logmag", 3).waves(mix).sum(1), mix.mean(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_louder_mixture_has_the_same_masks_and_louder_waves(kind: str) -> None:
    separator, mix = _separator(kind, 2), _mix()
    torch.testing.assert_close(_masks(separator, 10 * mix), _masks(separator, mix), atol=2e-4, rtol=0)
    torch.testing.assert_close(separator.waves(10 * mix), 10 * separator.waves(mix), atol=1e-4, rtol=1e-3)


def test_level_of_one_observation_does_not_touch_another() -> None:
    for kind in KINDS:
        separator, mix = _separator(kind, 2), _mix()
        other = torch.stack([mix[0], 30 * mix[1].flip(-1)])
        torch.testing.assert_close(separator.waves(other)[0], separator.waves(mix)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["silence", "one_ear", "identical"])
def test_masks_and_gradients_are_finite_for_odd_inputs(kind: str, case: str) -> None:
    separator, mix = _separator(kind, 2), _mix()
    if case == "silence":
        mix.zero_()
    elif case == "one_ear":
        mix[:, 1] = 0
    else:
        mix[:, 1] = mix[:, 0]
    masks = _masks(separator, mix)
    (masks[:, 0].square().sum() + separator.waves(mix).square().sum()).backward()
    assert masks.isfinite().all()
    gradients = [p.grad for p in separator.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_for_training_alone(kind: str) -> None:
    separator, mix = _separator(kind, 2, dropout=0.5), _mix()
    assert torch.equal(_masks(separator, mix), _masks(separator, mix))
    separator.train()
    assert not torch.equal(_masks(separator, mix), _masks(separator, mix))


def test_spatial_input_hears_a_delay_that_magnitudes_do_not() -> None:
    mix = _mix(1, 640)
    mix[:, 1] = mix[:, 0].roll(2)
    mirrored = mix.flip(1)
    changes = {}
    for kind in ("logmag", "spatial"):
        separator = _separator(kind, 2)
        changes[kind] = (_masks(separator, mix) - _masks(separator, mirrored)).abs()[..., 5:-5].mean()
    assert changes["spatial"] > 2 * changes["logmag"]


# ---- dual-path RNN --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("length", "size"), [(1, 4), (4, 4), (5, 4), (99, 10), (100, 10), (101, 10), (3, 64)]
)
def test_merging_chunks_undoes_splitting(length: int, size: int) -> None:
    frames = torch.randn(2, length, 3)
    chunks = split_chunks(frames, size)
    assert chunks.shape[2:] == (size, 3)
    assert torch.equal(merge_chunks(chunks, length), frames)
    # each frame lies in exactly two chunks
    assert chunks.double().sum() == pytest.approx(2 * frames.double().sum().item(), abs=1e-4)


def test_chunks_overlap_by_half() -> None:
    chunks = split_chunks(torch.arange(1.0, 7)[None, :, None], 4)[0, :, :, 0]
    assert chunks.tolist() == [[0, 0, 1, 2], [1, 2, 3, 4], [3, 4, 5, 6], [5, 6, 0, 0]]


def test_global_norm_has_one_mean_and_variance() -> None:
    x = 3 + 2 * torch.randn(2, 4, 5, 6)
    normed = GlobalNorm(6)(x)
    for before, after in zip(x, normed):
        torch.testing.assert_close(
            after, (before - before.mean()) / before.std(correction=0), atol=1e-4, rtol=0
        )


def test_paths_go_along_the_chunks_then_across_and_add_their_input() -> None:
    separator = _separator("dprnn", 2)
    seen: list[torch.Tensor] = []
    for path in separator.paths:
        torch.nn.init.zeros_(path.norm.weight)  # a path whose norm gives zeros must hand on its input
        path.lstm.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    separator.waves(_mix(3))
    along, across = seen[0].unflatten(0, (3, -1)), seen[1].unflatten(0, (3, -1))  # [B, C, K, D], [B, K, C, D]
    assert along.shape[2] == LITTLE.chunk and along.shape[1] != LITTLE.chunk
    torch.testing.assert_close(across, along.transpose(1, 2))
    torch.testing.assert_close(seen[2], seen[0])
    assert len(seen) == 2 * LITTLE.blocks


def test_frames_of_the_filterbank_cover_every_sample() -> None:
    separator = _separator("dprnn", 1)
    with torch.no_grad():  # a filterbank that passes the left ear on, and masks of one half
        separator.encoder.weight.zero_()
        for i in range(8):
            separator.encoder.weight[i, 0, i] = 1
        separator.decoder.weight.zero_()
        for i in range(8):
            separator.decoder.weight[i, 0, i] = 1
        separator.head.weight.zero_()
        separator.head.bias.zero_()
    mix = _mix().abs()  # the encoder's output is rectified
    for length in (1, 7, 8, 9, 517):
        part = mix[..., :length]
        torch.testing.assert_close(separator.separate(part)[:, 0], part[:, 0] / 2)


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("tiny", 88_737), ("small", 318_529), ("medium", 1_307_073), ("large", 3_596_161)],
)
def test_parameters_of_the_presets(preset: str, parameters: int) -> None:
    network = DprnnTasNet(2, Stft(256, 64), PRESETS[preset])
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert f"{parameters:,}" in (DprnnTasNet.__doc__ or "")


@pytest.mark.parametrize("kind", KINDS)
def test_separators_learn_to_part_two_tones(kind: str) -> None:
    torch.manual_seed(0)
    separator = _separator(kind, 2).train()
    t = torch.arange(400) / 8000
    sounds = torch.stack([torch.sin(2 * torch.pi * 500 * t), torch.sin(2 * torch.pi * 2500 * t)])
    mix = sounds.sum(0).expand(1, 2, -1)
    optimizer = torch.optim.Adam(separator.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (separator.waves(mix)[0] - sounds).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_a_mixture_without_two_ears_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[B, 2, L\]"):
        _separator("dprnn", 2).waves(torch.zeros(1, 1, 100))
