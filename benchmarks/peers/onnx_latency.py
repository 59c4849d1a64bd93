# SPDX-License-Identifier: Apache-2.0
"""The students' masks in ONNX Runtime, in one step: a worker of latency.py. PyTorch exports each
network with its softmax; ONNX Runtime optimises and runs it."""
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

import networks
import settings
import weights
import worker
from torch_sampling import TOLERANCE, prefixes


class Mask(nn.Module):
    """Noise and image, at one timestep -> class probabilities."""

    def __init__(self, network: nn.Module, t: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("t", t)

    def forward(self, start: Tensor, image: Tensor) -> Tensor:
        return self.network(torch.cat([start, image], 1), self.t).softmax(1)


def session(mask: Mask, inputs: tuple[Tensor, Tensor], opset: int, threads: int):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads may spin during a run, but not after it, when the other system works.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "mask.onnx")
        names = ["start", "image"]
        torch.onnx.export(
            mask, inputs, path, verbose=False, opset_version=opset, input_names=names
        )
        return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])


def work() -> None:
    warnings.simplefilter("ignore")
    options, setting = worker.arguments(settings.onnx())
    tensors, _ = weights.read(options.dump)
    start, image, expected = (
        np.ascontiguousarray(tensors[name].transpose(0, 3, 1, 2))
        for name in ("start", "image", "probabilities")
    )
    t = torch.full((len(image),), int(tensors["timesteps"][0]))
    parameters, _ = weights.read(options.model)
    opset = int(setting.name.split()[-1])
    sessions = []
    for prefix in prefixes(parameters, "students"):
        mask = Mask(networks.make(weights.of_network(parameters, prefix)), t).eval()
        inputs = (torch.from_numpy(start), torch.from_numpy(image))
        sessions.append(session(mask, inputs, opset, options.threads))

    def run() -> np.ndarray:
        feed = {"start": start, "image": image}
        return np.mean([session.run(None, feed)[0] for session in sessions], 0)

    difference = float(abs(run() - expected).max())
    worker.check("probabilities", difference, TOLERANCE["f32"])
    worker.serve(run, f"ONNX Runtime {onnxruntime.__version__}", difference)


if __name__ == "__main__":
    worker.main(work)
