# SPDX-License-Identifier: Apache-2.0
"""The ways in which a peer is run; each comparison tries all that fit and takes the fastest."""
from dataclasses import dataclass, field
from pathlib import Path

# An allocator that keeps its memory, and the widest instructions, which PyTorch 1.13 does not take
# by itself. Not for training, where 1.13 with this allocator went on growing until memory was full.
TUNED = {
    "MALLOC_TRIM_THRESHOLD_": "-1",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
if " avx512bw " in Path("/proc/cpuinfo").read_text():
    TUNED["ATEN_CPU_CAPABILITY"] = "avx512"


@dataclass(frozen=True)
class Setting:
    """`how` is eager, prepacked (oneDNN's weight layout), trace, optimised (a trace, frozen and
    given to optimize_for_inference), compile (torch.compile; frozen for inference) or onnx.
    `precision` is f32, autocast (bf16 where autocast chooses it) or bf16 (weights too);
    `native_norm`: group norms see bf16 as they are, not converted to float32."""

    name: str
    how: str
    channels_last: bool = True
    precision: str = "f32"
    native_norm: bool = False
    environment: dict[str, str] = field(default_factory=dict)


def inference(precision: str) -> list[Setting]:
    """For bf16 also those of float32: a peer may be faster with them."""
    found = [
        Setting("eager, as installed", "eager", channels_last=False),
        Setting("eager", "eager", channels_last=False, environment=TUNED),
        Setting("eager, channels last", "eager", environment=TUNED),
        Setting("prepacked", "prepacked", channels_last=False, environment=TUNED),
        Setting("traced and optimised", "optimised", channels_last=False, environment=TUNED),
        Setting("traced and optimised, channels last", "optimised", environment=TUNED),
        Setting("compiled", "compile", channels_last=False, environment=TUNED),
        Setting("compiled, channels last", "compile", environment=TUNED),
    ]
    if precision == "bf16":
        found += [
            Setting("bf16 autocast", "eager", True, "autocast", environment=TUNED),
            Setting("bf16 weights", "eager", True, "bf16", environment=TUNED),
            Setting("bf16 weights and norms", "eager", True, "bf16", True, TUNED),
            Setting("bf16 weights, traced and frozen", "trace", True, "bf16", environment=TUNED),
            Setting("bf16 weights, compiled", "compile", True, "bf16", environment=TUNED),
            Setting("bf16 weights and norms, compiled", "compile", True, "bf16", True, TUNED),
        ]
    return found


def training(precision: str) -> list[Setting]:
    found = [
        Setting("eager", "eager", channels_last=False),
        Setting("eager, channels last", "eager"),
        Setting("traced, channels last", "trace"),
        Setting("compiled", "compile", channels_last=False),
        Setting("compiled, channels last", "compile"),
    ]
    if precision == "bf16":
        found += [
            Setting("bf16 autocast", "eager", True, "autocast"),
            Setting("bf16 autocast and norms", "eager", True, "autocast", True),
            Setting("bf16 autocast, compiled", "compile", True, "autocast"),
            Setting("bf16 autocast and norms, compiled", "compile", True, "autocast", True),
        ]
    return found


def onnx() -> list[Setting]:
    """ONNX Runtime has no bf16 convolution on CPUs; it fuses and lays out the graph by itself."""
    return [
        Setting("ONNX Runtime, opset 18", "onnx", channels_last=False),
        Setting("ONNX Runtime, opset 21", "onnx", channels_last=False),
    ]
