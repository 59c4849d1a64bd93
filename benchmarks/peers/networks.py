# SPDX-License-Identifier: Apache-2.0
"""The two networks of models/networks in PyTorch, with the same parameter names. Images are
[N, C, H, W] (in either memory format), timesteps [N]."""
import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """Of 8 groups. `in_float32`: computed so where the input is bf16; PyTorch 1.13 has no bf16
    group norm that is right."""

    in_float32 = True

    def __init__(self, channels: int) -> None:
        super().__init__(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float()).to(x.dtype) if self.in_float32 else super().forward(x)


class TimeEmbedding(nn.Sequential):
    def __init__(self, channels: int, hidden: int, out: int, activation: nn.Module) -> None:
        super().__init__(nn.Linear(channels, hidden), activation, nn.Linear(hidden, out))
        half = channels // 2
        frequencies = torch.exp(torch.arange(half) * (-math.log(1e4) / half))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t.float()[:, None] * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], 1)
        return super().forward(waves.to(self[0].weight.dtype))


class ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = GroupNorm(in_channels), GroupNorm(out)
        self.conv1 = nn.Conv2d(in_channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.time = nn.Linear(embedding, 2 * out) if embedding else None
        self.shortcut = nn.Conv2d(in_channels, out, 1) if in_channels != out else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor | None) -> Tensor:
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.time is not None:
            scale, shift = self.time(embedding)[:, :, None, None].chunk(2, 1)
            h = h * (1 + scale) + shift
        return self.conv2(F.silu(h)) + self.shortcut(x)


class Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.norm = GroupNorm(channels)
        self.qkv, self.proj = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # [N, H W, C]
        qkv = self.qkv(tokens).view(n, height * width, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [N, heads, H W, C / heads] each
        if hasattr(F, "scaled_dot_product_attention"):
            h = F.scaled_dot_product_attention(q, k, v)
        else:
            h = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        h = self.proj(h.transpose(1, 2).reshape(n, height * width, c))
        return x + h.transpose(1, 2).reshape(x.shape)


class Level(nn.Module):
    """The blocks of one resolution, and the convolution that leaves it."""

    def __init__(self, ins: list[int], out: int, embedding: int, leave: str, then: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(i, out, embedding) for i in ins)
        if leave == "downsample":
            self.downsample = nn.Conv2d(out, then, 3, stride=2, padding=1)
        elif leave == "upsample":
            self.upsample = nn.Conv2d(out, then, 3, padding=1)


class UNet(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, width: int, time: bool) -> None:
        super().__init__()
        e = 4 * width if time else 0
        self.time_mlp = TimeEmbedding(width, e, e, nn.SiLU()) if time else None
        self.stem = nn.Conv2d(in_channels, width, 3, padding=1)
        w = [width, 2 * width, 4 * width, 8 * width]
        self.down = nn.ModuleList(
            Level([w[max(i - 1, 0)], w[i]], w[i], e, "downsample" if i < 3 else "", w[i])
            for i in range(4)
        )
        self.mid = nn.ModuleDict(
            {
                "block1": ResidualBlock(w[3], w[3], e),
                "attention": Attention(w[3]),
                "block2": ResidualBlock(w[3], w[3], e),
            }
        )
        self.up = nn.ModuleList(
            Level([2 * w[i], 2 * w[i]], w[i], e, "upsample" if i > 0 else "", w[i] // 2)
            for i in range(4)
        )
        self.head = nn.ModuleDict(
            {"norm": GroupNorm(width), "conv": nn.Conv2d(width, out_channels, 3, padding=1)}
        )

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        embedding = F.silu(self.time_mlp(t)) if self.time_mlp is not None else None
        skips = []
        h = self.stem(x)
        for level in self.down:
            for block in level.blocks:
                h = block(h, embedding)
                skips.append(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
        h = self.mid["attention"](self.mid["block1"](h, embedding))
        h = self.mid["block2"](h, embedding)
        for level in reversed(self.up):
            for block in level.blocks:
                h = block(torch.cat([h, skips.pop()], 1), embedding)
            if hasattr(level, "upsample"):
                h = level.upsample(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.head["conv"](F.silu(self.head["norm"](h)))


class DoubleConv(nn.Module):
    def __init__(self, in_channels: int, out: int, norm: str, dropout: float, leaky: bool) -> None:
        super().__init__()
        make_norm = nn.BatchNorm2d if norm == "batch" else GroupNorm
        self.conv1 = nn.Conv2d(in_channels, out, 3, padding=1)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm1, self.norm2 = make_norm(out), make_norm(out)
        self.activation = nn.LeakyReLU(0.01) if leaky else nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.activation(self.norm1(self.conv1(x))))
        return self.activation(self.norm2(self.conv2(h)))


class UpConv(DoubleConv):
    def __init__(self, in_channels: int, out: int, norm: str) -> None:
        super().__init__(2 * out, out, norm, 0, leaky=False)
        self.reduce = nn.Conv2d(in_channels, out, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = F.interpolate(self.reduce(x), scale_factor=2.0, mode="bilinear", align_corners=True)
        return super().forward(torch.cat([skip, up], 1))


class Plain(nn.Module):
    def __init__(
        self, in_channels: int, out_channels: int, width: int, time: bool, norm: str, dropout: float
    ) -> None:
        super().__init__()
        w = [width, width, 2 * width, 4 * width, 8 * width]
        rates = [dropout * rate for rate in (0.05, 0.1, 0.2, 0.3, 0.4)]
        self.time_mlp = TimeEmbedding(width, 4 * width, width, nn.GELU()) if time else None
        self.stem = DoubleConv(in_channels, width, norm, rates[0], leaky=True)
        self.down = nn.ModuleList(
            DoubleConv(w[i], w[i + 1], norm, rates[i + 1], leaky=True) for i in range(4)
        )
        self.up = nn.ModuleList(UpConv(w[i + 1], w[i], norm) for i in reversed(range(4)))
        self.head = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        h = self.stem(x)
        if self.time_mlp is not None:
            h = h + self.time_mlp(t)[:, :, None, None]
        skips = []
        for stage in self.down:
            skips.append(h)
            h = stage(F.max_pool2d(h, 2))
        for stage in self.up:
            h = stage(h, skips.pop())
        return self.head(h)


def make(weights: Mapping[str, np.ndarray], dropout: float = 0) -> nn.Module:
    """The network that `weights` (weights.of_network) belong to, with them in it: which one, its
    widths, and whether it takes a timestep are seen from their names and shapes."""
    time = "time_mlp.0.weight" in weights
    if "stem.weight" in weights:
        width, in_channels = weights["stem.weight"].shape[:2]
        network = UNet(in_channels, weights["head.conv.weight"].shape[0], width, time)
    else:
        width, in_channels = weights["stem.conv1.weight"].shape[:2]
        norm = "batch" if "stem.norm1.running_mean" in weights else "group"
        network = Plain(in_channels, weights["head.weight"].shape[0], width, time, norm, dropout)
    tensors = {name: torch.from_numpy(values) for name, values in weights.items()}
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    strange = [name for name in missing if not name.endswith("num_batches_tracked")] + unexpected
    if strange:
        raise ValueError(f"the model file does not fit the network: {', '.join(strange)}")
    return network
