#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times training steps (forward, cross-entropy and Dice, backward, AdamW) in Anaphase and in
PyTorch, alternately, and compares their peak memory."""
import sys
import tempfile
from pathlib import Path

import harness
import settings
import weights
from harness import Peer

# Relative, of Anaphase's first two losses in bf16; torch_training.py has the same for its own.
TOLERANCE = 1e-2


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--batch", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model, dump, own = (Path(folder) / name for name in ("model", "f32", "own"))
        task = ["--size", str(options.size), "--batch", str(options.batch)]

        def bench(precision: str, *more: str | Path) -> list[str]:
            return harness.bench(options, "training", *task, "--precision", precision, *more)

        fresh = ["--preset", options.preset, "--network", options.network]
        harness.once(bench("f32", *fresh, "--export", model, "--dump", dump))
        ours = bench(options.precision, "--model", model)
        if options.precision == "bf16":
            harness.once([*ours, "--dump", str(own)])
            expected, found = (weights.read(path)[0]["losses"][:2] for path in (dump, own))
            harness.require("losses", abs(found / expected - 1).max(), TOLERANCE)
        pythons = options.python or [sys.executable]
        tried = settings.training(options.precision)
        peers = [Peer("torch_training.py", python, tried) for python in pythons]
        work = (
            f"{options.network} {options.preset}, {options.size} px, batch {options.batch},"
            f" {options.precision}"
        )
        arguments = ["--model", str(model), "--dump", str(dump)]
        harness.compare("training step", work, options, [*ours, "--paced"], peers, arguments)


if __name__ == "__main__":
    main()
