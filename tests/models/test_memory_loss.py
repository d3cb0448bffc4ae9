"""The memory's loss and its gradients over windows, against one forward pass of the network a window."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from audio_separation.models.memory import TransformerMemory
from audio_separation.models.memory_loss import make_targets, make_windows, memory_loss

BINS, FRAMES, BANDS = 64, 16, 4
STEPS = 7


def small_memory(output: str = "gain", layers: int = 2) -> TransformerMemory:
    torch.manual_seed(3)
    net = TransformerMemory(4, layers, 4, 24, output, num_bins=BINS, num_frames=FRAMES, num_bands=BANDS)
    for parameter in net.parameters():  # biases too
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def episodes(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(4)
    mono, target = 2 * torch.rand(2, count, STEPS, 1, BINS, FRAMES, generator=rng)
    return mono, target


def plain_loss(net, mono, target, taus, size, last, kind) -> torch.Tensor:
    """The network called once a window, every pair in it compared with the truth."""
    distance = functional.l1_loss if kind == "l1" else functional.mse_loss
    errors = []
    for tau in taus:
        held = list(range(max(0, tau - size + 1), tau + 1))
        steps = torch.tensor(held).expand(len(mono), -1)
        refined = net(mono[:, held], steps, torch.ones_like(steps, dtype=torch.bool))
        errors += [distance(refined[:, held.index(s)], target[:, s]) for s in held if s > tau - last]
    return torch.stack(errors).mean()


@pytest.mark.parametrize("output", ["gain", "direct"])
@pytest.mark.parametrize("kind", ["l1", "mse"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("size", "last", "taus"),
    [(5, 3, range(STEPS)), (4, 4, [2, 5]), (20, 15, range(STEPS)), (20, 2, [0, 6]), (1, 1, range(STEPS))],
)
def test_loss_and_gradients_equal_one_pass_a_window(output, kind, layers, size, last, taus):
    net, (mono, target) = small_memory(output, layers), episodes()
    fast = memory_loss(net, make_targets(net, mono, target), make_windows(taus, STEPS, size, last), kind)
    (0.3 * fast).backward()
    found = {name: p.grad for name, p in net.named_parameters()}
    net.zero_grad()
    slow = plain_loss(net, mono, target, taus, size, last, kind)
    (0.3 * slow).backward()
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=0)
    for name, parameter in net.named_parameters():
        assert size == 1 or parameter.grad.abs().max() > 0, name
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(
            found[name],
            parameter.grad,
            rtol=1e-3,
            atol=1e-4 * scale + 1e-8,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_windows_hold_the_steps_up_to_their_own():
    windows = make_windows([1, 4], 6, size=3, last=2)
    assert windows.sizes == [2, 3] and windows.asked_sizes == [2, 2]
    assert windows.step.tolist() == [0, 1, 2, 3, 4]
    assert windows.step[windows.asked].tolist() == [0, 1, 3, 4]
    assert windows.keep.int().tolist() == [[1, 1, 0, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 1, 0]] * 3
    assert [rows.tolist() for rows in windows.by_step] == [[0], [1], [], [2], [3], []]


def test_some_episodes_of_the_targets_are_those_episodes():
    net, (mono, target) = small_memory(), episodes(3)
    windows = make_windows(range(STEPS), STEPS, 4, 3)
    whole = make_targets(net, mono, target).episodes(slice(1, 3))
    alone = make_targets(net, mono[1:], target[1:])
    assert torch.equal(memory_loss(net, whole, windows, "l1"), memory_loss(net, alone, windows, "l1"))


def test_what_does_not_fit_is_refused():
    net, (mono, target) = small_memory(), episodes()
    with pytest.raises(ValueError, match=r"expected mono and target \[B, T, 1, F, N\]"):
        make_targets(net, mono, target[:1])
    with pytest.raises(ValueError, match="kind must be one of"):
        memory_loss(net, make_targets(net, mono, target), make_windows([1], STEPS, 3, 2), "huber")
