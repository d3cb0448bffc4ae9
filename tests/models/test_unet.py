"""The U-Net's blocks with frozen weights, where few pixels take another way, against the plain convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audio_separation.models.unet import DownBlock, UNet, UpBlock


def plain(block: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return block.activation(block.norm(block.conv(x)))


def frozen(block: nn.Module) -> nn.Module:
    return block.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", [DownBlock, UpBlock])
@pytest.mark.parametrize("size", [(2, 2), (4, 4), (2, 8), (4, 2), (8, 8)])
@pytest.mark.parametrize("batch", [1, 3])
def test_frozen_blocks_equal_the_convolutions(kind, size, batch):
    torch.manual_seed(0)
    block, x = frozen(kind(6, 5)), torch.randn(batch, 6, *size)
    for part in [x, x[:, :, :1, :1], x[:, :, :2, :1]] if kind is UpBlock else [x]:
        torch.testing.assert_close(block(part), plain(block, part), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "size"), [(DownBlock, 2), (UpBlock, 1), (UpBlock, 2)])
def test_changed_weights_count_at_once(kind, size):
    torch.manual_seed(0)
    block, other, x = frozen(kind(6, 5)), frozen(kind(6, 5)), torch.randn(2, 6, size, size)
    block(x)
    block.load_state_dict(other.state_dict())
    torch.testing.assert_close(block(x), plain(other, x))
    block.conv.weight.data.mul_(2)  # unseen by the version counter, as a broadcast over ranks
    block.eval()
    torch.testing.assert_close(block(x), plain(block, x))
    # learning and frozen in turn
    block.requires_grad_(True)
    optimizer = torch.optim.Adam(block.parameters(), lr=0.1, fused=True)
    block(x).sum().backward()
    optimizer.step()
    torch.testing.assert_close(block(x), plain(block, x))
    torch.testing.assert_close(frozen(block)(x), plain(block, x))


def test_the_state_dict_holds_the_weights_alone():
    torch.manual_seed(0)
    net = frozen(UNet(3, 2, (4, 4, 4)))
    before = list(net.state_dict())
    net(torch.randn(1, 3, 8, 8))
    assert list(net.state_dict()) == before


def test_the_frozen_network_is_the_learning_one():
    torch.manual_seed(0)
    net, x, condition = UNet(3, 2, (4, 4, 4, 4), 5).eval(), torch.randn(2, 3, 16, 16), torch.randn(2, 5)
    learning = net(x, condition)
    torch.testing.assert_close(frozen(net)(x, condition), learning, rtol=1e-5, atol=1e-5)
