# SPDX-License-Identifier: Apache-2.0
"""Two systems timed alternately in one run. Each lives in a process of its own that waits on a pipe
while the other works; a line in asks for one repetition, a line out gives its milliseconds."""
import argparse
import json
import os
import platform
import random
import selectors
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from settings import Setting

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATIENCE = 600  # seconds that a process has to become ready, compilation included
PAUSE = 0.05  # seconds until the threads of who worked last have ceased to spin and sleep


class Failed(Exception):
    """A process that ended, or took too long, before it was ready."""


class Child:
    """`command` with `threads` threads. `facts` holds what it said of itself before it was ready."""

    def __init__(self, command: list[str], threads: int, environment: dict[str, str]) -> None:
        self.facts: dict = {}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ
            | {"OMP_NUM_THREADS": str(threads)}
            | {"OPENBLAS_NUM_THREADS": "1"}  # its threads would fight OpenMP's
            | environment,
        )
        self.rest = b""
        while (line := self.line(PATIENCE)) != "ready":
            if line.startswith("{"):
                self.facts |= json.loads(line)

    def line(self, seconds: float) -> str:
        """The next line of its output."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(seconds):
                    self.process.kill()
                    raise Failed(f"no answer in {seconds} s")
                part = os.read(self.process.stdout.fileno(), 65536)
                if not part:
                    self.process.wait()
                    self.errors.seek(0)
                    said = self.errors.read().strip().splitlines()
                    raise Failed(said[-1] if said else f"exit status {self.process.returncode}")
                self.rest += part
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def repetition(self) -> float:
        """Milliseconds of one repetition."""
        time.sleep(PAUSE)
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return float(self.line(PATIENCE))

    def peak_memory(self) -> int:
        """Bytes that were in memory at most, so far (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Peer:
    """A worker script under an interpreter, and the settings to try."""

    script: str
    python: str
    settings: list[Setting]


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = made.add_argument
    add("--preset", choices=("tiny", "small", "paper"), default="tiny")
    add("--network", choices=("unet", "plain"), default="unet")
    add("--size", type=int, default=128, help="pixels a side")
    add("--precision", choices=("f32", "bf16"), default="f32")
    add("--threads", type=int, default=len(os.sched_getaffinity(0)))
    add("--repetitions", type=int, default=20, help="of both systems, alternately")
    add("--trials", type=int, default=5, help="repetitions of a setting; its fastest counts")
    add("--setting", action="append", help="try this one alone; may be repeated")
    add("--python", action="append", help="interpreter that has the peer; may be repeated")
    add("--anaphase", type=Path, default=ROOT / "build" / "release" / "apps" / "anaphase")
    add("--json", type=Path, help="write all figures to this file")
    return made


def bench(options: argparse.Namespace, what: str, *more: str | Path) -> list[str]:
    """The command that runs Anaphase's side."""
    words = [options.anaphase, "bench", what, "--threads", options.threads, *more]
    return [str(word) for word in words]


def once(command: list[str]) -> None:
    """Runs Anaphase to its end, for the files that it writes."""
    done = subprocess.run(
        [*command, "--warmup", "2", "--repetitions", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed: {done.stderr.strip()}")


def require(what: str, difference: float, tolerance: float) -> None:
    """Ends the program where Anaphase's bf16 is too far from its float32; NaN is."""
    print(f"Anaphase's {what} in bf16 differ from float32 by {difference:.1g}")
    if not difference <= tolerance:
        sys.exit(f"that is more than {tolerance}")


def worker(peer: Peer, setting: Setting, options: argparse.Namespace, arguments: list[str]):
    script = str(HERE / peer.script)
    common = ["--threads", str(options.threads), "--setting", setting.name]
    command = [peer.python, script, *common, *arguments]
    return Child(command, options.threads, setting.environment)


def quartiles(values: list[float]) -> tuple[float, float, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def try_settings(
    peers: list[Peer], options: argparse.Namespace, arguments: list[str]
) -> tuple[list[dict], tuple[Peer, Setting]]:
    """Every setting of every peer, one after the other; the fastest of those that are right."""
    tried, best, fastest = [], None, float("inf")
    for peer in peers:
        for setting in peer.settings:
            if options.setting and setting.name not in options.setting:
                continue
            entry = {"setting": setting.name, "python": peer.python}
            try:
                child = worker(peer, setting, options, arguments)
                entry |= child.facts
                entry["trials_ms"] = [child.repetition() for _ in range(options.trials)]
                entry["peak_memory_bytes"] = child.peak_memory()
                child.close()
            except Failed as failure:
                entry["failure"] = str(failure)
                print(f"  {setting.name}: left out: {failure}", flush=True)
            else:
                least = min(entry["trials_ms"])
                print(
                    f"  {setting.name}: {least:.1f} ms, {entry['peak_memory_bytes'] / 1e6:.0f} MB"
                    f" ({entry['version']}, differs by {entry['difference']:.1g})",
                    flush=True,
                )
                if least < fastest:
                    best, fastest = (peer, setting), least
            tried.append(entry)
    if best is None:
        sys.exit("no setting of a peer works: see above, and README.md for what to install")
    return tried, best


def alternate(children: list[Child], repetitions: int) -> list[list[float]]:
    """Milliseconds of each child; in each round every child works once, in an order drawn anew."""
    order, generator = list(range(len(children))), random.Random(0)
    times: list[list[float]] = [[] for _ in children]
    for index in range(repetitions + 1):
        generator.shuffle(order)
        for child in order:
            milliseconds = children[child].repetition()
            if index > 0:  # the first round warms caches again
                times[child].append(milliseconds)
    return times


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def compare(
    what: str,
    work: str,
    options: argparse.Namespace,
    ours: list[str],
    peers: list[Peer],
    arguments: list[str],
) -> None:
    """Finds the peers' best setting, then times it and Anaphase (`ours`) alternately; prints a row
    of a Markdown table. `work` describes the task in that row."""
    print(f"{what}: {work}, {options.threads} threads of {processor()}", flush=True)
    tried, (peer, setting) = try_settings(peers, options, arguments)
    anaphase = Child(ours, options.threads, {})
    other = worker(peer, setting, options, arguments)
    times = alternate([anaphase, other], options.repetitions)
    ratios = quartiles([b / a for a, b in zip(*times)])
    memory = [child.peak_memory() for child in (anaphase, other)]
    for child in (anaphase, other):
        child.close()
    name = f"{other.facts['version']}, {setting.name}"
    cells = [f"{m:.1f} ({low:.1f}-{high:.1f})" for low, m, high in map(quartiles, times)]
    print(
        "\n| work | Anaphase, ms | peer, ms | peer's best setting | peer / Anaphase"
        " | peak memory, MB |\n|---|---|---|---|---|---|\n"
        f"| {what}, {work} | {cells[0]} | {cells[1]} | {name}"
        f" | {ratios[1]:.2f} ({ratios[0]:.2f}-{ratios[2]:.2f})"
        f" | {memory[0] / 1e6:.0f}, {memory[1] / 1e6:.0f} |\n\n"
        f"Medians and quartiles of {options.repetitions} repetitions, alternately; of the ratio"
        " likewise."
    )
    if options.json:
        figures = {
            "what": what,
            "work": work,
            "processor": processor(),
            "threads": options.threads,
            "anaphase": {"command": ours, "ms": times[0], "peak_memory_bytes": memory[0]},
            "peer": {"setting": name, "ms": times[1], "peak_memory_bytes": memory[1]},
            "ratio_quartiles": ratios,
            "tried": tried,
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
