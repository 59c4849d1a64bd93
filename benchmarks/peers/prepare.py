# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module made ready to run under a setting."""
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from networks import GroupNorm
from settings import Setting


class PrepackedConv(nn.Module):
    """A convolution whose weight lies in oneDNN's own layout; images keep PyTorch's."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.options = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(
            conv.weight.detach().to_mkldnn(), *self.options
        )
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return torch.mkldnn_convolution(x, self.weight, self.bias, *self.options)


def memory_format(setting: Setting) -> torch.memory_format:
    return torch.channels_last if setting.channels_last else torch.contiguous_format


def convert(module: nn.Module, setting: Setting) -> nn.Module:
    """Memory format, weights and norms as the setting says; norms and time stay in float32."""
    module.to(memory_format=memory_format(setting))
    for part in list(module.modules()):
        if isinstance(part, GroupNorm):
            part.in_float32 = not setting.native_norm
        if setting.precision == "bf16" and isinstance(part, (nn.Conv2d, nn.Linear)):
            part.to(torch.bfloat16)
        if setting.how == "prepacked":
            for name, child in part.named_children():
                if isinstance(child, nn.Conv2d):
                    setattr(part, name, PrepackedConv(child))
    return module


def autocast(setting: Setting) -> torch.autocast | nullcontext:
    if setting.precision != "autocast":
        return nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


def compiled(module: nn.Module, freeze: bool) -> Callable:
    if not hasattr(torch, "compile"):
        raise RuntimeError(f"PyTorch {torch.__version__} has no torch.compile")
    import torch._inductor.config as inductor

    inductor.freezing = freeze
    return torch.compile(module, dynamic=False)


def for_inference(module: nn.Module, setting: Setting, example: Sequence[Tensor]) -> Callable:
    """`example` are inputs of the shapes, types and layouts that will come. To be called, as the
    result is, without gradients."""
    module = convert(module.eval(), setting)
    if setting.how == "compile":
        return compiled(module, freeze=True)
    if setting.how in ("eager", "prepacked"):
        return module
    frozen = torch.jit.freeze(torch.jit.trace(module, tuple(example), check_trace=False))
    return torch.jit.optimize_for_inference(frozen) if setting.how == "optimised" else frozen


def for_training(module: nn.Module, setting: Setting, example: Sequence[Tensor]) -> Callable:
    module = convert(module.train(), setting)
    if setting.how == "compile":
        return compiled(module, freeze=False)
    if setting.how == "trace":
        return torch.jit.trace(module, tuple(example), check_trace=False)
    return module
