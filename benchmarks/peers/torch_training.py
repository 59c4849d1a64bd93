# SPDX-License-Identifier: Apache-2.0
"""A training step in PyTorch, forward, backward and AdamW: the worker of training.py."""
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import networks
import prepare
import settings
import weights
import worker
from settings import Setting

# Relative, of the losses of five steps: those of the first and the second (which the gradients and
# the optimiser have part in), and of all. AdamW divides small gradients by their own size, so
# rounding grows from step to step.
TOLERANCE = {"f32": (1e-4, 3e-2), "bf16": (1e-2, 2e-1)}


def segmentation_loss(logits: Tensor, labels: Tensor, one_hot: Tensor) -> Tensor:
    """Cross-entropy and soft Dice with squared denominators (kernels/loss/loss.hpp)."""

    def total(x: Tensor) -> Tensor:
        return x.sum((0, 2, 3))

    p = logits.softmax(1)
    dice = (2 * total(p * one_hot) + 1) / (total(p * p) + total(one_hot) + 1)
    return 1 - dice.mean() + F.cross_entropy(logits, labels)


def make_optimizer(network: nn.Module, facts: dict[str, str]) -> torch.optim.Optimizer:
    """AdamW with weight decay on weights, not on biases and norms; fused where PyTorch can."""
    parameters = list(network.parameters())
    decay = float(facts["weight_decay"])
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    options = {
        "lr": float(facts["lr"]),
        "betas": (float(facts["beta1"]), float(facts["beta2"])),
        "eps": float(facts["epsilon"]),
    }
    try:
        return torch.optim.AdamW(groups, fused=True, **options)
    except (TypeError, RuntimeError):  # 1.13 knows no `fused`, 2.0 to 2.3 not on a CPU
        return torch.optim.AdamW(groups, foreach=True, **options)


class Training:
    """One step a call; returns its loss."""

    def __init__(self, model: Path, dump: Path, setting: Setting) -> None:
        tensors, facts = weights.read(dump)
        form = prepare.memory_format(setting)
        x = torch.from_numpy(tensors["input"]).permute(0, 3, 1, 2)
        self.x = x.contiguous(memory_format=form)
        self.t = torch.from_numpy(tensors["timestep"]).long()
        self.labels = torch.from_numpy(tensors["labels"]).long()
        self.expected = tensors["losses"]
        parameters, _ = weights.read(model)
        network = networks.make(weights.of_network(parameters, facts["network"]))
        classes = network(self.x[:1], self.t[:1]).shape[1]
        self.one_hot = F.one_hot(self.labels, classes).permute(0, 3, 1, 2).float()
        self.setting = setting
        self.network = prepare.for_training(network, setting, (self.x, self.t))
        self.optimizer = make_optimizer(network, facts)

    def __call__(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        with prepare.autocast(self.setting):
            logits = self.network(self.x, self.t)
        loss = segmentation_loss(logits.float(), self.labels, self.one_hot)
        loss.backward()
        self.optimizer.step()
        return loss


def work() -> None:
    options, setting = worker.arguments(settings.training("bf16"))
    torch.set_num_threads(options.threads)
    training = Training(options.model, options.dump, setting)
    expected = torch.from_numpy(training.expected)
    losses = torch.tensor([training().item() for _ in expected])
    differences = (losses / expected - 1).abs()  # a NaN stays one in their largest
    early, late = TOLERANCE["f32" if setting.precision == "f32" else "bf16"]
    worker.check("losses of the first two steps", differences[:2].max().item(), early)
    worker.check("losses of five steps", differences.max().item(), late)
    worker.serve(training, f"PyTorch {torch.__version__}", differences[:2].max().item())


if __name__ == "__main__":
    worker.main(work)
