# SPDX-License-Identifier: Apache-2.0
"""One peer under one setting, in a process of its own. It checks its output, says "ready", and then
runs one repetition for every line that it reads, answering with milliseconds (as `anaphase bench
--paced` does). What cannot run, or is wrong, ends with one line on standard error."""
import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from settings import Setting

WARM_UP = 3


def arguments(known: list[Setting]) -> tuple[argparse.Namespace, Setting]:
    parser = argparse.ArgumentParser()
    for name in ("--model", "--dump"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--with", dest="who", default="students")
    parser.add_argument("--setting", required=True)
    options = parser.parse_args()
    return options, next(setting for setting in known if setting.name == options.setting)


def check(what: str, difference: float, tolerance: float) -> None:
    if not difference <= tolerance:
        raise RuntimeError(f"{what} differ by {difference:.2g}, more than {tolerance:.2g}")


def serve(repetition: Callable[[], object], version: str, difference: float) -> None:
    for _ in range(WARM_UP):
        repetition()
    print(json.dumps({"version": version, "difference": difference}))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        repetition()
        print(f"{1e3 * (time.perf_counter() - start):.4f}", flush=True)


def main(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:  # whatever a peer throws is the reason why its setting is left out
        lines = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{type(error).__name__}: {lines[0]}", file=sys.stderr)
        sys.exit(1)
