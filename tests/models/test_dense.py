"""The faster linear layer against the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audio_separation.models.dense import Dense


@pytest.mark.parametrize("shape", [(5, 12), (2, 3, 12), (1, 12), (4, 1, 12)])
@pytest.mark.parametrize("needs_input", [True, False])
def test_results_and_gradients_equal_the_plain_layer(shape, needs_input):
    torch.manual_seed(0)
    fast, plain = Dense(12, 7), nn.Linear(12, 7)
    plain.load_state_dict(fast.state_dict())
    results = []
    for layer in (fast, plain):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_(needs_input)
        y = layer(x)
        (y.transpose(0, -1) ** 2).sum().backward()  # a gradient that is not contiguous
        results.append((y, x.grad, layer.weight.grad, layer.bias.grad))
    for a, b in zip(*results):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_rows_that_are_not_contiguous():
    torch.manual_seed(0)
    layer, x = Dense(6, 4), torch.randn(3, 6, 5)
    torch.testing.assert_close(
        layer(x.transpose(1, 2)), nn.functional.linear(x.transpose(1, 2), layer.weight, layer.bias)
    )


def test_other_precisions_take_the_plain_way():
    torch.manual_seed(0)
    layer, x = Dense(6, 4), torch.randn(3, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    wide = layer.double()
    torch.testing.assert_close(wide(x.double()), nn.functional.linear(x.double(), wide.weight, wide.bias))
