"""Transformer memory: refines the mono magnitude of every step from those before it.

AAViDSS (ECCV 2022, section 4.2), DESIGN section 6. The token CNN and the first layer's projections run once a
step; the rest of the attention runs once a window of steps; the decoder runs for the estimates that are asked
for. ``memory_loss.py`` learns from all windows of an episode at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Optional, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from audio_separation.models.dense import Dense
from audio_separation.models.precision import full_precision
from audio_separation.models.separator import bounded_gain
from audio_separation.models.slicing import slice_bands, unslice_bands

OUTPUTS = ("gain", "direct")
FACTOR_MAX = 4.0  # of the refined over the passive magnitude in `gain` form: +12 dB


class EncodedSteps(NamedTuple):
    """The token CNN's view of steps.

    Attributes:
        tokens: ``[..., D]``.
        skips: ``[..., channels, F / bands / 2, N / 2]``, for the decoder.
    """

    tokens: Tensor
    skips: Tensor


class SharedSteps(NamedTuple):
    """What the first layer makes of steps, the same for every window that holds them.

    Attributes:
        tokens: ``[B, T, D]``, with the code of their position.
        query, key: ``[B, heads, T, D / heads]``.
        value: ``[B, heads, T, D]``, each head's values after its part of the output projection.
    """

    tokens: Tensor
    query: Tensor
    key: Tensor
    value: Tensor


def position_code(steps: Tensor, size: int) -> Tensor:
    """Code of step indices t: ``t * 1e-4^(2 (i // 2) / size)``, cosine at even i and sine at odd i.

    Args:
        steps: any shape ``[...]``, integer or float.
        size: number of values D.

    Returns:
        ``[..., size]`` float32.
    """
    index = torch.arange(size, device=steps.device)
    rate = torch.pow(1e-4, 2 * (index // 2) / size)
    angle = steps[..., None].float() * rate
    return torch.where(index % 2 == 0, angle.cos(), angle.sin())


def _upsample(conv: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """Apply a 2x2 transposed convolution of stride 2 as one matrix product.

    Its patches do not overlap; measured on CPU, this way takes a fraction of the time of the general one.
    """
    height, width = x.shape[2:]
    # [in, out, 2, 2] -> [out * 4, in], bias once for each of the four pixels
    weight = conv.weight.flatten(1).T
    bias = cast(Tensor, conv.bias).repeat_interleave(4)[:, None]
    patches = weight @ x.flatten(2) + bias
    return functional.pixel_shuffle(patches.unflatten(2, (height, width)), 2)


class EncoderLayer(nn.Module):
    """Pre-norm transformer layer, in the pieces that windowed attention needs."""

    def __init__(self, size: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(size)
        self.qkv = Dense(size, 3 * size)
        self.out = Dense(size, size)
        self.norm2 = nn.LayerNorm(size)
        self.linear1 = Dense(size, feedforward)
        self.linear2 = Dense(feedforward, size)
        nn.init.xavier_uniform_(self.qkv.weight)
        for layer in (self.qkv, self.out):
            nn.init.zeros_(layer.bias)

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values of tokens: ``[..., D]`` to ``[..., 3 D]``."""
        return self.qkv(self.norm1(x))

    def share(self, x: Tensor) -> SharedSteps:
        """Project steps ``[B, T, D]`` for any number of windows.

        Values are mixed by a weighted sum, so the linear output projection may come before it: once a step
        rather than once a step and window.
        """
        # [B, T, 3 D] -> 3 x [B, heads, T, D / heads]
        query, key, value = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        # [D, D] -> [heads, D / heads, D]; one product a head over the steps of all rows
        out = self.out.weight.unflatten(1, (self.heads, -1)).permute(1, 2, 0)
        value = torch.bmm(value.transpose(0, 1).flatten(1, 2), out)  # [heads, B * T, D]
        return SharedSteps(x, query, key, value.unflatten(1, x.shape[:2]).transpose(0, 1))

    def attend_shared(self, steps: SharedSteps, asked: Tensor, keep: Optional[Tensor] = None) -> Tensor:
        """Attend among shared steps.

        Args:
            asked: ``[P]`` int64, the step that asks.
            keep: ``[P, T]`` bool, the steps that it may look at, itself among them; None for all.

        Returns:
            ``[B, P, D]``: tokens with their mixed values added.
        """
        scores = steps.query @ steps.key.transpose(2, 3) / math.sqrt(steps.key.shape[-1])
        scores = scores.float().index_select(2, asked)  # [B, heads, P, T]
        if keep is not None:
            scores = scores.masked_fill(~keep, -math.inf)
        # [B, heads, P, T] -> [B, P, heads * T], one matrix product over the values of all heads
        weights = scores.softmax(-1).transpose(1, 2).flatten(2)
        mixed = weights.to(steps.value.dtype) @ steps.value.flatten(1, 2)
        return steps.tokens.index_select(1, asked) + mixed + self.out.bias

    def attend(self, qkv: Tensor, keep: Optional[Tensor], queries: int) -> Tensor:
        """Mix the values.

        Args:
            qkv: ``[R, W, 3 D]`` of R rows of W slots.
            keep: ``[R, W]`` bool, slots that may be looked at; at least one True a row; None for all.
            queries: how many slots at the end ask.

        Returns:
            ``[R, queries, D]``.
        """
        # [R, W, 3 D] -> 3 x [R, heads, W, D / heads]
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query = query[:, :, qkv.shape[1] - queries :]
        mask = None if keep is None else keep[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)

    def finish(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Add the mixed values and the feed-forward part to the tokens, all ``[..., D]``."""
        return self.feed_forward(x + self.out(mixed))

    def feed_forward(self, x: Tensor) -> Tensor:
        """Add the feed-forward part to tokens ``[..., D]``."""
        return x + self.linear2(self.linear1(self.norm2(x)).relu_())


class TransformerMemory(nn.Module):
    """Memory over steps (published sizes by default).

    Args:
        channels: of the token CNN; a token has ``channels * (F / num_bands / 4) * (N / 4)`` values.
        layers, heads, feedforward: of the transformer.
        output: ``direct`` is the published form, which predicts magnitudes; ``gain`` multiplies the input
            with a factor in (0, 4) that is exactly 1 before training.
        num_bins, num_frames, num_bands: F, N and the frequency slicing.
    """

    def __init__(
        self,
        channels: int = 16,
        layers: int = 2,
        heads: int = 8,
        feedforward: int = 1024,
        output: str = "gain",
        num_bins: int = 512,
        num_frames: int = 32,
        num_bands: int = 16,
    ) -> None:
        super().__init__()
        height = num_bins // num_bands
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {OUTPUTS}, got {output!r}")
        if height % 4 or num_frames % 4:
            raise ValueError(f"bands of {height} bins and {num_frames} frames must be divisible by 4")
        self.output = output
        self.num_bands = num_bands
        self._grid = (channels, height // 4, num_frames // 4)
        self.token_size = channels * (height // 4) * (num_frames // 4)
        if self.token_size % heads:
            raise ValueError(f"heads must divide the token size {self.token_size}, got {heads}")
        self.down1 = nn.Conv2d(num_bands, channels, 2, stride=2)
        self.down2 = nn.Conv2d(channels, channels, 2, stride=2)
        self.layers = nn.ModuleList(EncoderLayer(self.token_size, heads, feedforward) for _ in range(layers))
        self.norm = nn.LayerNorm(self.token_size)
        self.up1 = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.up2 = nn.ConvTranspose2d(2 * channels, num_bands, 2, stride=2)
        if output == "gain":
            nn.init.zeros_(self.up2.weight)
            nn.init.zeros_(self.up2.bias)  # type: ignore[arg-type]

    def encode(self, mono: Tensor) -> EncodedSteps:
        """Turn steps ``[..., 1, F, N]`` (any leading axes) into tokens ``[..., D]`` and skips."""
        if mono.dim() < 4 or mono.shape[-3] != 1:
            raise ValueError(f"expected mono [..., 1, F, N], got {list(mono.shape)}")
        compressed = torch.log1p(mono.clamp(min=0)) if self.output == "gain" else mono
        leading = mono.shape[:-3]
        bands = slice_bands(compressed.reshape(-1, *mono.shape[-3:]), self.num_bands)
        with full_precision(bands.device):  # like the decoder, small beside the layers
            skips = functional.leaky_relu(self.down1(bands), 0.2)
            tokens = self.down2(skips).flatten(1)
        return EncodedSteps(tokens.view(*leading, -1), skips.view(*leading, *skips.shape[1:]))

    def attend(self, tokens: Tensor, steps: Tensor, valid: Tensor, last: Optional[int] = None) -> Tensor:
        """Let every slot look at the valid slots of its row.

        Args:
            tokens: ``[B, M, D]`` from :meth:`encode`.
            steps: ``[B, M]`` step index of each slot in its episode.
            valid: ``[B, M]`` bool; slots that hold a step. A row without any comes back as zeros.
            last: only that many slots at the end are asked for; None for all.

        Returns:
            ``[B, last or M, D]``.
        """
        slots = tokens.shape[1]
        some = valid.any(dim=1, keepdim=True)
        keep = valid | ~some  # softmax over no key at all would be NaN
        x = tokens + position_code(steps, self.token_size)
        for depth, module in enumerate(self.layers):
            layer = cast(EncoderLayer, module)
            asked = last if last is not None and depth == len(self.layers) - 1 else slots
            mixed = layer.attend(layer.project(x), keep, asked)
            x = layer.finish(x[:, slots - asked :], mixed)
        return self.norm(x) * some[..., None]

    def remember(
        self, tokens: Tensor, steps: Tensor, before: Optional[SharedSteps], size: int
    ) -> SharedSteps:
        """Add new steps to those remembered, for :meth:`attend_remembered`.

        Args:
            tokens: ``[B, K, D]`` of the new steps, from :meth:`encode`.
            steps: ``[B, K]`` their index in their episode.
            before: what is remembered of former steps; None for nothing.
            size: how many of the newest steps are kept.
        """
        shared = self._layer(0).share(tokens + position_code(steps, self.token_size))
        if before is None:
            return shared
        return SharedSteps(*(torch.cat([a, b], dim=-2)[..., -size:, :] for a, b in zip(before, shared)))

    def attend_remembered(self, shared: SharedSteps, last: int) -> Tensor:
        """As :meth:`attend` for rows that are all valid: ``[B, last, D]``, without projecting a step twice."""
        held = shared.tokens.shape[1]
        first = held - last if len(self.layers) == 1 else 0  # the last layer's queries are asked for alone
        layer, asked = self._layer(0), torch.arange(first, held, device=shared.tokens.device)
        x = layer.feed_forward(layer.attend_shared(shared, asked))
        for depth in range(1, len(self.layers)):
            layer, queries = self._layer(depth), last if depth == len(self.layers) - 1 else held
            x = layer.finish(x[:, held - queries :], layer.attend(layer.project(x), None, queries))
        return self.norm(x)

    def _layer(self, depth: int) -> EncoderLayer:
        return cast(EncoderLayer, self.layers[depth])

    def decode(self, tokens: Tensor, skips: Tensor, mono: Tensor) -> Tensor:
        """Turn attended tokens ``[..., D]`` into refined ``[..., 1, F, N]``.

        Args:
            tokens: from :meth:`attend`.
            skips, mono: of the same steps, from and into :meth:`encode`.
        """
        with full_precision(tokens.device):
            x = functional.leaky_relu(_upsample(self.up1, tokens.reshape(-1, *self._grid)), 0.2)
            x = _upsample(self.up2, torch.cat([x, skips.reshape(-1, *skips.shape[-3:])], dim=1))
        if self.output == "direct":
            return unslice_bands(functional.leaky_relu(x, 0.2), self.num_bands).view_as(mono)
        return mono * bounded_gain(unslice_bands(x, self.num_bands), FACTOR_MAX).view_as(mono)

    def forward(self, mono: Tensor, steps: Tensor, valid: Tensor) -> Tensor:
        """Refine all slots of a memory.

        Args:
            mono: ``[B, M, 1, F, N]`` passive estimates.
            steps: ``[B, M]`` step index of each slot in its episode (integer or float).
            valid: ``[B, M]`` bool, as in :meth:`attend`.

        Returns:
            ``[B, M, 1, F, N]``; a row without valid slots is all zeros, other invalid slots are meaningless.
        """
        if mono.dim() != 5 or steps.shape != mono.shape[:2] or valid.shape != mono.shape[:2]:
            raise ValueError(
                f"expected mono [B, M, 1, F, N], steps and valid [B, M], "
                f"got {list(mono.shape)}, {list(steps.shape)} and {list(valid.shape)}"
            )
        valid = valid.bool()
        encoded = self.encode(mono)
        refined = self.decode(self.attend(encoded.tokens, steps, valid), encoded.skips, mono)
        return refined * valid.any(dim=1)[:, None, None, None, None]
