"""Slicing, U-Net and passive separators."""

from __future__ import annotations

import math

import pytest
import torch

from audio_separation.models.separator import (
    GAIN_MAX,
    LEVEL_FLOOR,
    MONO_RMS,
    PassiveSeparator,
    SeparatorOutput,
    bounded_gain,
    rms_level,
    separator_loss,
)
from audio_separation.models.slicing import slice_bands, unslice_bands
from audio_separation.models.unet import UNet

SMALL = (8, 8, 16, 16, 16)


def small_separator(variant: str = "masked", trained: bool = True) -> PassiveSeparator:
    """A small separator; `trained`: with random heads in place of the neutral ones."""
    torch.manual_seed(1)
    net = PassiveSeparator(5, variant, SMALL, class_embedding=4)
    if trained:
        for unet in (net.bin_unet, net.mono_unet):
            torch.nn.init.normal_(unet.head.weight, std=0.3)
            if unet.film is not None:
                torch.nn.init.normal_(unet.film.weight, std=0.3)
    return net


def mixture(batch: int = 3) -> torch.Tensor:
    """Random magnitudes ``[B, 2, 512, 32]`` with the range of speech."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, 2, 512, 32, generator=generator).mul(1.5).exp()


def test_slicing_order_is_channel_times_bands_plus_band():
    # every value tells its channel, bin and frame
    c, f, n = torch.meshgrid(torch.arange(2), torch.arange(512), torch.arange(32), indexing="ij")
    x = (c * 512 * 32 + f * 32 + n)[None].double()
    bands = slice_bands(x)
    assert bands.shape == (1, 32, 32, 32)
    for channel, band, row, frame in ((0, 0, 0, 0), (1, 3, 7, 9), (0, 15, 31, 31)):
        assert bands[0, channel * 16 + band, row, frame] == x[0, channel, band * 32 + row, frame]
    assert torch.equal(unslice_bands(bands), x)
    with pytest.raises(ValueError, match="divisible by 16"):
        slice_bands(torch.zeros(1, 1, 100, 32))


def test_unet_conditioning_starts_without_effect_then_matters():
    torch.manual_seed(0)
    net = UNet(3, 4, (4, 8), condition_size=5)
    x, a, b = torch.randn(2, 3, 8, 8), torch.randn(2, 5), torch.randn(2, 5)
    assert net(x, a).shape == (2, 4, 8, 8)
    assert torch.equal(net(x, a), net(x, b))
    torch.nn.init.normal_(net.film.weight)
    assert not torch.allclose(net(x, a), net(x, b))


def test_bounded_gain_is_exactly_one_at_zero_and_stays_in_bounds():
    raw = torch.tensor([0.0, -1e4, 1e4, 0.5], requires_grad=True)
    for maximum in (1.5, 2.0, 4.0, 8.0):
        gain = bounded_gain(raw, maximum)
        assert gain[0] == 1
        assert gain.min() >= 0 and gain.max() <= maximum
        assert gain[3].item() == pytest.approx((2 / (1 + math.exp(-0.5))) ** math.log2(maximum))
        assert torch.isfinite(torch.autograd.grad(gain.sum(), raw)[0]).all()


def test_untrained_masked_variant_returns_the_levelled_mixture():
    mix = mixture() * torch.tensor([1e-2, 1.0, 30.0])[:, None, None, None]
    with torch.no_grad():
        output = small_separator(trained=False)(mix.log1p(), torch.tensor([0, 1, 4]))
    assert torch.equal(output.bin_mask, torch.ones_like(mix))
    mono = mix.mean(dim=1, keepdim=True)
    expected = mono * MONO_RMS / rms_level(mono)
    torch.testing.assert_close(output.mono_mag, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("factor", [1e-3, 0.1, 50.0])
def test_masked_variant_ignores_the_overall_level(factor):
    net, mix, target = small_separator().eval(), mixture(), torch.tensor([0, 1, 4])
    with torch.no_grad():
        plain = net(mix.log1p(), target)
        scaled = net((mix * factor).log1p(), target)
    assert plain.bin_mask.std() > 0.05  # else there is nothing to compare
    torch.testing.assert_close(scaled.bin_mask, plain.bin_mask, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scaled.mono_mag, plain.mono_mag, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(scaled.bin_mag, plain.bin_mag * factor, rtol=1e-3, atol=1e-4 * factor)


def test_paper_variant_does_not():
    net, mix, target = small_separator("paper").eval(), mixture(), torch.tensor([0, 1, 4])
    with torch.no_grad():
        difference = net(mix.log1p(), target).bin_mask - net((mix * 50).log1p(), target).bin_mask
    assert difference.abs().max() > 0.1


def test_masked_variant_is_bounded_and_finite_on_silence():
    net = small_separator()
    for level in (0.0, 1e-7, 1e4):
        mix = mixture() * level
        output = net(mix.log1p(), torch.tensor([0, 1, 4]))
        assert output.bin_mask.min() >= 0 and output.bin_mask.max() <= net.mask_max
        assert output.mono_mag.min() >= 0
        loss = separator_loss(output, mix, torch.rand(3, 1, 512, 32))
        grads = torch.autograd.grad(loss.bin_loss + loss.mono_loss, list(net.parameters()))
        assert all(torch.isfinite(grad).all() for grad in grads)
        if level < LEVEL_FLOOR:  # near-silence is not blown up to the common level
            bound = GAIN_MAX * MONO_RMS * rms_level(mix) / LEVEL_FLOOR
            assert (rms_level(output.mono_mag) <= bound).all()


@pytest.mark.parametrize("variant", ["masked", "paper"])
def test_class_decides_and_mono_loss_leaves_the_mask_alone(variant):
    net, mix = small_separator(variant), mixture()
    output = net(mix.log1p(), torch.tensor([0, 1, 4]))
    with torch.no_grad():
        other = net(mix.log1p(), torch.tensor([1, 0, 2]))
    assert (output.bin_mask - other.bin_mask).abs().max() > 1e-3
    loss = separator_loss(output, mix, torch.rand(3, 1, 512, 32))
    loss.mono_loss.backward(retain_graph=True)
    assert all(p.grad is None for p in net.bin_unet.parameters())
    loss.bin_loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_losses_by_hand():
    def full(value: float, channels: int) -> torch.Tensor:
        return torch.full((2, channels, 4, 4), value)

    output = SeparatorOutput(bin_mask=full(0.5, 2), mono_mag=full(3.0, 1), bin_mag=full(1.0, 2))
    assert separator_loss(output, full(3.0, 2), full(0.0, 1)) == (2, 3)
    assert separator_loss(output, full(3.0, 2), full(0.0, 1), kind="mse") == (4, 9)
    relative = separator_loss(
        output, full(3.0, 2), full(0.0, 1), mix_level=full(4 * MONO_RMS, 1)[:, :, :1, :1]
    )
    assert relative.bin_loss.item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="kind must be one of"):
        separator_loss(output, full(3.0, 2), full(0.0, 1), kind="l2")


def test_small_masked_separator_learns_two_tone_classes():
    # class 0 owns the low half of the bins, class 1 the high half
    torch.manual_seed(0)
    net = small_separator(trained=False)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        mix, target = torch.rand(8, 2, 512, 32), torch.randint(2, (8,))
        low = torch.arange(512) < 256
        own = torch.where(target[:, None] == 0, low, ~low)[:, None, :, None]
        truth = mix * own
        mono = truth.mean(dim=1, keepdim=True)
        loss = separator_loss(net(mix.log1p(), target), truth, mono * MONO_RMS / rms_level(mono))
        optimizer.zero_grad()
        (loss.bin_loss + loss.mono_loss).backward()
        optimizer.step()
    # the mixture itself, mask 1, has a binaural loss of 0.25
    assert loss.bin_loss < 0.12
    assert loss.mono_loss < 0.3


def test_separator_refuses_wrong_shapes_and_sizes():
    with pytest.raises(ValueError, match=r"expected mix_logmag \[B, C, F, N\]"):
        small_separator()(torch.zeros(2, 2, 512, 32), torch.zeros(2, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="variant must be one of"):
        PassiveSeparator(3, "magic")
    with pytest.raises(ValueError, match="mask_max must exceed 1"):
        PassiveSeparator(3, mask_max=1.0)
