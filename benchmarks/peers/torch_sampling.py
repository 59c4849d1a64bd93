# SPDX-License-Identifier: Apache-2.0
"""DDIM sampling in PyTorch, one step of it or many: the worker of sampling.py and latency.py."""
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import networks
import prepare
import settings
import weights
import worker
from settings import Setting

TOLERANCE = {"f32": 1e-4, "bf16": 3e-2}  # of probabilities


class Step(nn.Module):
    """A network call and a reverse step (kernels/diffusion/diffusion.hpp): state, image,
    timesteps [N], coefficients [6] -> the state before, class probabilities."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype

    def forward(self, state: Tensor, image: Tensor, t: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(torch.cat([state, image], 1).to(self.dtype), t)
        probabilities = logits.float().softmax(1)
        clean = (c[0] * state + c[1] * (2 * probabilities - 1)).clamp(-1, 1)
        return c[2] * clean + c[4] * state, probabilities


def prefixes(parameters: dict[str, np.ndarray], who: str) -> list[str]:
    """Of the names of the networks that make the mask."""
    if who == "teacher":
        average = any(name.startswith("teacher.mask_average.") for name in parameters)
        return ["teacher.mask_average." if average else "teacher.mask."]
    return sorted({name.split(".")[0] + "." for name in parameters if name.startswith("student")})


class Sampler:
    """Class probabilities [N, K, H, W]: of the teacher, or the mean of the students."""

    def __init__(self, model: Path, dump: Path, who: str, setting: Setting) -> None:
        tensors, _ = weights.read(dump)
        form = prepare.memory_format(setting)
        image, start = (
            torch.from_numpy(tensors[name]).permute(0, 3, 1, 2).contiguous(memory_format=form)
            for name in ("image", "start")
        )
        self.image, self.start, self.setting = image, start, setting
        self.expected = torch.from_numpy(tensors["probabilities"]).permute(0, 3, 1, 2)
        self.timesteps = [torch.full((len(image),), int(t)) for t in tensors["timesteps"]]
        self.coefficients = list(torch.from_numpy(tensors["coefficients"]))
        if any(c[3] != 0 or c[5] != 0 for c in self.coefficients):
            raise ValueError(f"{dump} is not of the sampler ddim: peers follow no other")
        parameters, _ = weights.read(model)
        self.steps = []
        for prefix in prefixes(parameters, who):
            network = networks.make(weights.of_network(parameters, prefix))
            dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
            example = (start, image, self.timesteps[0], self.coefficients[0])
            self.steps.append(prepare.for_inference(Step(network, dtype), setting, example))

    def __call__(self) -> Tensor:
        every = []
        with prepare.autocast(self.setting):
            for step in self.steps:
                state = self.start
                for t, c in zip(self.timesteps, self.coefficients):
                    state, probabilities = step(state, self.image, t, c)
                every.append(probabilities)
        return every[0] if len(every) == 1 else torch.stack(every).mean(0)


def work() -> None:
    options, setting = worker.arguments(settings.inference("bf16"))
    torch.set_num_threads(options.threads)
    with torch.no_grad():
        sampler = Sampler(options.model, options.dump, options.who, setting)
        sampler()  # a trace is optimised, and a module compiled, in the first calls
        sampler()
        difference = (sampler() - sampler.expected).abs().max().item()
        tolerance = TOLERANCE["f32" if setting.precision == "f32" else "bf16"]
        worker.check("probabilities", difference, tolerance)
        worker.serve(sampler, f"PyTorch {torch.__version__}", difference)


if __name__ == "__main__":
    worker.main(work)
