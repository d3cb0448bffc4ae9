"""What the memory learns from: the refined estimates of a whole episode, as seen from many steps at once.

The same as one :class:`TransformerMemory` call a window of steps (the tests compare them), arranged for speed:
what is the same for all windows is computed once, only slots that hold a step are carried along, and the
decoder, its loss and their gradients are computed together in blocks that fit the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence, cast

import torch
from torch import Tensor
from torch.nn import functional

from audio_separation.models.memory import FACTOR_MAX, EncoderLayer, TransformerMemory, position_code
from audio_separation.models.precision import full_precision
from audio_separation.models.separator import LOSSES
from audio_separation.models.slicing import slice_bands

assert FACTOR_MAX == 4.0  # _Decode.output takes the gain as 4 sigmoid(x)^2


class Targets(NamedTuple):
    """What estimates are made from and judged by, as the decoder sees it (:func:`make_targets`).

    Attributes:
        mono: ``[B, T, 1, F, N]`` passive estimates.
        mono_rows, target_rows: ``[B, T, G, O]`` passive estimates and truth.
    """

    mono: Tensor
    mono_rows: Tensor
    target_rows: Tensor

    def episodes(self, part: slice) -> Targets:
        """Some of the episodes."""
        return Targets(*(x[part] for x in self))


class Windows(NamedTuple):
    """Windows of steps and the pairs (window, step in it), window by window, oldest step first.

    Attributes:
        sizes: steps of each window.
        asked_sizes: of those, how many at the end are asked for.
        step: ``[P]`` int64, step of each pair.
        keep: ``[P, T]`` bool, steps in the window of each pair.
        asked: ``[A]`` int64, the pairs whose estimate is asked for.
        by_step: for each step, the rows among the asked pairs that estimate it.
    """

    sizes: list[int]
    asked_sizes: list[int]
    step: Tensor
    keep: Tensor
    asked: Tensor
    by_step: list[Tensor]


def make_windows(
    taus: Sequence[int], num_steps: int, size: int, last: int, device: torch.device | str = "cpu"
) -> Windows:
    """Windows of the ``size`` steps up to each of ``taus``, asked for the ``last`` of them.

    Steps before the first one do not exist: early windows are shorter.
    """
    sizes: list[int] = []
    asked_sizes: list[int] = []
    step: list[int] = []
    keep: list[list[bool]] = []
    asked: list[int] = []
    rows: list[list[int]] = [[] for _ in range(num_steps)]
    for tau in taus:
        held = range(max(0, tau - size + 1), tau + 1)
        sizes.append(len(held))
        asked_sizes.append(min(last, len(held)))
        for s in held:
            if s > tau - last:
                rows[s].append(len(asked))
                asked.append(len(step))
            step.append(s)
            keep.append([held[0] <= t <= tau for t in range(num_steps)])
    return Windows(
        sizes,
        asked_sizes,
        torch.tensor(step, device=device),
        torch.tensor(keep, device=device),
        torch.tensor(asked, device=device),
        [torch.tensor(r, dtype=torch.int64, device=device) for r in rows],
    )


def attend_windows(memory: TransformerMemory, tokens: Tensor, windows: Windows) -> Tensor:
    """Attend in every window.

    Args:
        tokens: ``[B, T, D]`` from :meth:`TransformerMemory.encode`, of steps 0 to T - 1.

    Returns:
        ``[B, A, D]`` for the asked pairs.
    """
    steps = torch.arange(tokens.shape[1], device=tokens.device)
    layers = [cast(EncoderLayer, layer) for layer in memory.layers]
    shared = layers[0].share(tokens + position_code(steps, memory.token_size))
    step, keep = windows.step, windows.keep
    if len(layers) == 1:
        step, keep = step[windows.asked], keep[windows.asked]
    x = layers[0].feed_forward(layers[0].attend_shared(shared, step, keep))  # [B, P, D]
    for depth, layer in enumerate(layers[1:], 1):
        final = depth == len(layers) - 1
        asked = windows.asked_sizes if final else windows.sizes
        parts = layer.project(x).split(windows.sizes, dim=1)
        mixed = torch.cat([layer.attend(qkv, None, count) for qkv, count in zip(parts, asked)], dim=1)
        x = layer.finish(x.index_select(1, windows.asked) if final else x, mixed)
    return memory.norm(x)


class _Decode(torch.autograd.Function):
    """Sum of the errors of decoded estimates; their gradients are made in the same pass over each block.

    A pixel of the coarse grid is a row: the transposed convolutions of stride 2 are then plain matrix
    products, since their patches do not overlap. With c channels, g x g tokens and G = 4 g^2 rows a pair, a row
    of O = 4 bands values is a 2 x 2 patch of every band.
    """

    @staticmethod
    def forward(
        ctx: Any,
        attended: Tensor,  # [B, A, D]
        base: Tensor,  # [B, T, G, O] what the second convolution adds for the skips and the bias
        weight1: Tensor,  # [c, 4 c]
        bias1: Tensor,  # [4 c]
        weight2: Tensor,  # [c, O]
        mono: Tensor,  # [B, T, G, O]
        target: Tensor,  # [B, T, G, O]
        by_step: list[Tensor],
        output: str,
        kind: str,
    ) -> Tensor:
        d_attended, d_base = torch.empty_like(attended), torch.empty_like(base)
        d_weight1, d_bias1, d_weight2 = (torch.zeros_like(x) for x in (weight1, bias1, weight2))
        total = attended.new_zeros((), dtype=torch.float64)
        channels = len(weight1)
        # on a CPU a block is one step of one episode, which fits its cache; elsewhere launches count, not bytes
        blocks = 1 if attended.device.type == "cpu" else len(attended)
        for begin in range(0, len(attended), blocks):
            part = slice(begin, begin + blocks)
            for step, rows in enumerate(by_step):
                if not len(rows):
                    d_base[part, step] = 0
                    continue
                tokens = attended[part].index_select(1, rows)  # [b, n, D]
                shape = (*tokens.shape[:2], channels, tokens.shape[2] // channels)
                # [b, n, c * g^2] -> [b * n * g^2, c]
                coarse = tokens.view(shape).transpose(2, 3).reshape(-1, channels)
                # [b * n * g^2, 4 c] -> [b * n * G, c]
                hidden = functional.leaky_relu(torch.addmm(bias1, coarse, weight1), 0.2).view(-1, channels)
                raw = torch.mm(hidden, weight2).view(*tokens.shape[:2], *base.shape[2:])
                raw += base[part, step, None]
                error, slope = _errors(raw, mono[part, step, None], target[part, step, None], output, kind)
                total += error
                torch.sum(slope, 1, out=d_base[part, step])
                slope = slope.view(-1, slope.shape[-1])
                d_weight2.addmm_(hidden.T, slope)
                d_hidden = torch.ops.aten.leaky_relu_backward(slope @ weight2.T, hidden, 0.2, True)
                d_hidden = d_hidden.view(-1, weight1.shape[1])
                d_weight1.addmm_(coarse.T, d_hidden)
                d_bias1 += d_hidden.sum(0)
                d_tokens = (d_hidden @ weight1.T).view(*shape[:2], shape[3], channels).transpose(2, 3)
                d_attended[part].index_copy_(1, rows, d_tokens.reshape(tokens.shape))
        ctx.save_for_backward(d_attended, d_base, d_weight1, d_bias1, d_weight2)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        return (
            *(gradient * outer[0].to(gradient) for gradient in ctx.saved_tensors),
            None,
            None,
            None,
            None,
            None,
        )


def _errors(raw: Tensor, mono: Tensor, target: Tensor, output: str, kind: str) -> tuple[Tensor, Tensor]:
    """Summed error of a block and its slope with respect to ``raw``, whose memory is used up."""
    if output == "gain":
        estimate = raw.sigmoid_().square().mul_(4 * mono)
    else:
        estimate = functional.leaky_relu(raw, 0.2)
    difference = estimate - target
    if kind == "l1":
        error, slope = difference.abs().sum(), difference.sign_()
    else:
        error, slope = torch.dot(difference.flatten(), difference.flatten()), difference.mul_(2)
    if output == "gain":
        slope *= estimate  # d estimate / d raw = 2 estimate (1 - sigmoid)
        return error, torch.addcmul(slope, slope, raw, value=-1, out=slope).mul_(2)
    return error, torch.ops.aten.leaky_relu_backward(slope, estimate, 0.2, True)


def _patches(image: Tensor, levels: int) -> Tensor:
    """``[B, T, c, H, W]`` as rows of the coarse grid of :class:`_Decode`, ``[B, T, G, c * 4^(levels - 1)]``."""
    batch, steps, channels, height, width = image.shape
    scale = 2**levels
    fine = [2] * levels
    # y = (coarse y, y1[, y2]), x alike
    x = image.reshape(batch, steps, channels, height // scale, *fine, width // scale, *fine)
    coarse_x = 4 + levels
    order = [0, 1, 3, coarse_x, 4, coarse_x + 1, 2]
    if levels == 2:
        order += [5, coarse_x + 2]
    return x.permute(order).reshape(batch, steps, height * width // 4 ** (levels - 1), -1)


def make_targets(memory: TransformerMemory, mono: Tensor, target: Tensor) -> Targets:
    """Arrange ``mono`` and ``target`` ``[B, T, 1, F, N]``, passive estimates and truth of whole episodes.

    This depends on no weight: once for all epochs.
    """
    if mono.dim() != 5 or mono.shape != target.shape:
        raise ValueError(
            f"expected mono and target [B, T, 1, F, N], got {list(mono.shape)} and {list(target.shape)}"
        )
    rows = (
        _patches(slice_bands(x.flatten(0, 1), memory.num_bands).unflatten(0, x.shape[:2]), 2)
        for x in (mono, target)
    )
    return Targets(mono, *rows)


def memory_loss(memory: TransformerMemory, targets: Targets, windows: Windows, kind: str) -> Tensor:
    """Error of the refined estimates of the current and the last steps, as seen from every window's last step.

    Its gradients come with it, so ``backward()`` costs no second pass through the decoder.

    Args:
        targets: of :func:`make_targets`.
        windows: of :func:`make_windows`.
        kind: l1 (published) or mse.

    Returns:
        Mean over episodes, windows, and the steps that exist.
    """
    if kind not in LOSSES:
        raise ValueError(f"kind must be one of {LOSSES}, got {kind!r}")
    encoded = memory.encode(targets.mono)
    attended = attend_windows(memory, encoded.tokens, windows)
    channels = memory.up1.in_channels
    weight1 = memory.up1.weight.permute(0, 2, 3, 1).flatten(1)
    bias1 = cast(Tensor, memory.up1.bias).repeat(4)
    # the second convolution sees the decoded tokens and the skips; the skips' part is the same for all windows
    of_tokens, of_skips = memory.up2.weight.flatten(1).split(channels)
    bias2 = cast(Tensor, memory.up2.bias).repeat_interleave(4)
    with full_precision(attended.device):
        base = _patches(encoded.skips, 1) @ of_skips + bias2
        total = _Decode.apply(
            attended, base, weight1, bias1, of_tokens,
            targets.mono_rows, targets.target_rows, windows.by_step, memory.output, kind,
        )  # fmt: skip
    return (total / (attended.shape[:2].numel() * targets.mono[0, 0].numel())).float()
