"""Permutation-invariant losses against closed forms and loops."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from audio_separation.audio.metrics import si_sdr
from audio_separation.training.separator_loss import (
    best_permutation,
    is_sounding,
    l1_loss,
    si_sdr_loss,
    soft_si_sdr_db,
)


def signals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("num_sources", [1, 2, 3, 4])
def test_best_permutation_is_that_of_a_loop(num_sources):
    costs = signals(5, num_sources, num_sources)
    sounding = signals(5, num_sources, seed=1) > -0.7
    cost, chosen = best_permutation(costs, sounding)
    for b in range(5):
        best = min(
            sum(float(costs[b, e, s]) for s, e in enumerate(order) if sounding[b, s])
            for order in permutations(range(num_sources))
        )
        assert cost[b].item() == pytest.approx(best / max(1, int(sounding[b].sum())), abs=1e-6)
        assert sorted(chosen[b].tolist()) == list(range(num_sources))
        own = sum(float(costs[b, chosen[b, s], s]) for s in range(num_sources) if sounding[b, s])
        assert own == pytest.approx(best, abs=1e-6)


def test_soft_si_sdr_is_si_sdr_but_bounded():
    ref = signals(1, 2, 4000)
    for noise, exact in ((3.0, True), (1.0, True), (0.3, True), (1e-4, False)):
        est = 7 * (ref + noise * signals(1, 2, 4000, seed=3)) + 0.5
        soft = soft_si_sdr_db(est, ref)
        hard = si_sdr(est[:, :, None].expand(-1, -1, 2, -1), ref[:, None].expand(-1, 2, -1, -1))
        if exact:
            assert torch.allclose(
                soft.diagonal(dim1=1, dim2=2), hard.diagonal(dim1=1, dim2=2).float(), atol=0.1
            )
        else:
            assert torch.allclose(soft.diagonal(dim1=1, dim2=2), torch.tensor(30.0), atol=0.1)


def test_the_loss_does_not_ask_for_an_order():
    ref = signals(4, 3, 500)
    est = ref + 0.5 * signals(4, 3, 500, seed=5)
    assert si_sdr_loss(est[:, [2, 0, 1]], ref).item() == pytest.approx(si_sdr_loss(est, ref).item(), abs=1e-5)
    other = est.clone()
    other[1] = est[1, [1, 0, 2]]  # each example has an order of its own
    assert si_sdr_loss(other, ref).item() == pytest.approx(si_sdr_loss(est, ref).item(), abs=1e-5)
    assert si_sdr_loss(ref, ref) < si_sdr_loss(est, ref) < si_sdr_loss(signals(4, 3, 500, seed=6), ref)


def test_silent_sources_and_silent_estimates_have_finite_gradients():
    ref = signals(2, 2, 300)
    ref[0, 1] = 0
    assert is_sounding(ref).tolist() == [[True, False], [True, True]]
    est = torch.zeros(2, 2, 300, requires_grad=True)
    si_sdr_loss(est, ref).backward()
    assert torch.isfinite(est.grad).all()
    est = ref.clone().requires_grad_()
    loss = si_sdr_loss(est, ref)
    loss.backward()
    assert torch.isfinite(est.grad).all() and loss.item() == pytest.approx(-30, abs=0.1)


def test_l1_loss_of_a_swapped_pair_by_hand():
    ref = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]]])  # [1, 2, 1, 2]
    est = torch.tensor([[[[2.0, 1.0]], [[1.0, 3.0]]]])
    mix = torch.tensor([[[3.0, 5.0]]])  # level 4
    # swapped: |2 - 2|, |1 - 2| -> 0.5 for one, 0 for the other
    assert l1_loss(est, ref, mix).item() == pytest.approx((0.5 + 0) / 2 / 4)
    assert l1_loss(9 * est, 9 * ref, 9 * mix).item() == pytest.approx(0.0625)
