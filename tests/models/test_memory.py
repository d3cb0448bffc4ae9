"""Transformer memory: masks, the neutral start, steps remembered one by one."""

from __future__ import annotations

import pytest
import torch

from audio_separation.models.memory import TransformerMemory, position_code

BINS, FRAMES, BANDS = 64, 8, 4


def small_memory(output: str = "gain", trained: bool = True, layers: int = 2) -> TransformerMemory:
    torch.manual_seed(3)
    net = TransformerMemory(4, layers, 4, 24, output, num_bins=BINS, num_frames=FRAMES, num_bands=BANDS)
    if trained:
        torch.nn.init.normal_(net.up2.weight, std=0.5)
    return net


def steps_of_sound(batch: int, steps: int) -> torch.Tensor:
    return torch.rand(batch, steps, 1, BINS, FRAMES, generator=torch.Generator().manual_seed(4)) * 2


def test_position_code_by_hand():
    code = position_code(torch.tensor([[0.0, 3.0]]), 6)[0, 1]
    for i in range(6):
        angle = torch.tensor(3 * 1e-4 ** (2 * (i // 2) / 6))
        torch.testing.assert_close(code[i], angle.cos() if i % 2 == 0 else angle.sin())


def test_invalid_slots_change_nothing():
    net, mono = small_memory(), steps_of_sound(2, 6)
    steps = torch.arange(6).expand(2, -1)
    valid = torch.tensor([[1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 0, 1]]).bool()
    noise = torch.where(valid[:, :, None, None, None], mono, 100 * torch.rand_like(mono))
    a, b = net(mono, steps, valid), net(noise, steps + 7 * ~valid, valid)
    torch.testing.assert_close(a[valid], b[valid])
    alone = net(mono[1:, 5:], steps[1:, 5:], valid[1:, 5:])
    torch.testing.assert_close(a[1, 5], alone[0, 0])


def test_row_without_valid_slots_is_zero_not_nan():
    net, mono = small_memory(), steps_of_sound(2, 3).requires_grad_()
    valid = torch.tensor([[False] * 3, [True] * 3])
    refined = net(mono, torch.arange(3).expand(2, -1), valid)
    assert torch.equal(refined[0], torch.zeros_like(refined[0]))
    assert refined[1].abs().sum() > 0
    refined.sum().backward()
    assert torch.isfinite(mono.grad).all()


def test_untrained_gain_memory_returns_its_input_exactly_and_can_learn():
    net, mono = small_memory(trained=False), steps_of_sound(2, 6)
    valid, steps = torch.ones(2, 6, dtype=torch.bool), torch.arange(6).expand(2, -1)
    assert torch.equal(net(mono, steps, valid), mono)
    net(mono, steps, valid).sum().backward()
    assert net.up2.weight.grad.abs().sum() > 0


def test_gain_is_bounded_and_keeps_zeros():
    net, mono = small_memory(), steps_of_sound(1, 4)
    torch.nn.init.normal_(net.up2.weight, std=50.0)
    mono[:, :, :, 0] = 0
    refined = net(mono, torch.arange(4)[None], torch.ones(1, 4).bool())
    assert refined.min() >= 0 and (refined <= 4 * mono + 1e-6).all()
    assert torch.equal(refined[:, :, :, 0], mono[:, :, :, 0])


def test_split_calls_with_cached_tokens_equal_forward():
    # as at a rollout: every step encoded once, only the newest decoded
    net, mono = small_memory(), steps_of_sound(2, 5)
    steps, valid = torch.arange(5).expand(2, -1), torch.ones(2, 5, dtype=torch.bool)
    encoded = [net.encode(mono[:, t : t + 1]) for t in range(5)]
    tokens = torch.cat([e.tokens for e in encoded], dim=1)
    attended = net.attend(tokens, steps, valid, last=1)
    refined = net.decode(attended, encoded[-1].skips, mono[:, -1:])
    torch.testing.assert_close(refined[:, 0], net(mono, steps, valid)[:, -1])


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("size", "last"), [(3, 1), (4, 3), (10, 10)])
def test_steps_remembered_one_by_one_equal_forward(layers, size, last):
    net, mono = small_memory(layers=layers), steps_of_sound(2, 7)
    first, shared = torch.tensor([[0], [11]]), None
    for t in range(7):
        encoded = net.encode(mono[:, t : t + 1])
        shared = net.remember(encoded.tokens, first + t, shared, size)
        held = list(range(max(0, t - size + 1), t + 1))
        asked = min(last, len(held))
        attended = net.attend_remembered(shared, asked)
        refined = net.decode(attended, net.encode(mono[:, held[-asked:]]).skips, mono[:, held[-asked:]])
        steps = first + torch.tensor(held)
        plain = net(mono[:, held], steps, torch.ones_like(steps, dtype=torch.bool))
        torch.testing.assert_close(refined, plain[:, -asked:], rtol=1e-4, atol=1e-5)


def test_memory_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="heads must divide the token size 1024, got 3"):
        TransformerMemory(heads=3)
    with pytest.raises(ValueError, match="output must be one of"):
        TransformerMemory(output="mask")
    with pytest.raises(ValueError, match=r"expected mono \[B, M, 1, F, N\]"):
        small_memory()(steps_of_sound(2, 5)[:, 0], torch.zeros(2, 5), torch.ones(2, 5))
