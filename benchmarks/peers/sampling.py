#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times DDIM sampling of masks in Anaphase and in PyTorch, alternately."""
import sys
import tempfile
from pathlib import Path

import harness
import settings
import weights
from harness import Peer

TOLERANCE = 3e-2  # of Anaphase's probabilities in bf16 (torch_sampling.py has the same)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--with", dest="who", choices=("teacher", "students"), default="teacher")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help="network calls for one mask")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, dump, own = (Path(folder) / name for name in ("model", "f32", "own"))
        task = ["--size", str(options.size), "--batch", str(options.batch), "--with", options.who]
        task += ["--steps", str(options.steps), "--sampler", "ddim"]

        def bench(precision: str, *more: str | Path) -> list[str]:
            return harness.bench(options, "sampling", *task, "--precision", precision, *more)

        fresh = ["--preset", options.preset, "--network", options.network]
        harness.once(bench("f32", *fresh, "--export", model, "--dump", dump))
        ours = bench(options.precision, "--model", model)
        if options.precision == "bf16":
            harness.once([*ours, "--dump", str(own)])
            expected, found = (weights.read(path)[0]["probabilities"] for path in (dump, own))
            harness.require("probabilities", abs(found - expected).max(), TOLERANCE)
        pythons = options.python or [sys.executable]
        tried = settings.inference(options.precision)
        peers = [Peer("torch_sampling.py", python, tried) for python in pythons]
        work = (
            f"{options.network} {options.preset}, {options.who}, {options.size} px, batch"
            f" {options.batch}, {options.steps} steps, {options.precision}"
        )
        arguments = ["--model", str(model), "--dump", str(dump), "--with", options.who]
        harness.compare("sampling", work, options, [*ours, "--paced"], peers, arguments)


if __name__ == "__main__":
    main()
