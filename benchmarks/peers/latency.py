#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times the mask of one image by the students in one step: Anaphase through its C API, PyTorch and
ONNX Runtime, alternately."""
import sys
import tempfile
from pathlib import Path

import harness
import settings
from harness import Peer


def main() -> None:
    options = harness.parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, dump = Path(folder) / "model", Path(folder) / "dump"
        # The same students in `bench sampling`, which can say what they are given and answer.
        task = ["--with", "students", "--steps", "1", "--batch", "1", "--size", options.size]
        fresh = ["--preset", options.preset, "--network", options.network, "--precision", "f32"]
        saved = ["--export", model, "--dump", dump]
        harness.once(harness.bench(options, "sampling", *task, *fresh, *saved))
        ours = ["--model", model, "--size", options.size, "--precision", options.precision]
        paced = harness.bench(options, "latency", *ours, "--paced")
        peers = []
        for python in options.python or [sys.executable]:
            peers.append(Peer("torch_sampling.py", python, settings.inference(options.precision)))
            peers.append(Peer("onnx_latency.py", python, settings.onnx()))
        work = f"{options.network} {options.preset}, {options.size} px, {options.precision}"
        arguments = ["--model", str(model), "--dump", str(dump), "--with", "students"]
        harness.compare("latency", work, options, paced, peers, arguments)


if __name__ == "__main__":
    main()
