"""Measure speed and memory of kvmprobe on this machine; see ``scripts/bench``."""

from __future__ import annotations

import argparse
import gc
import os
from pathlib import Path

import bench_lab
import bench_local
import bench_model
import bench_moves
import bench_trace


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((li.partition(": ")[2] for li in lines if li.startswith("model name")), "CPU")
    uname = os.uname()
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} CPUs, Linux {uname.release}; load average {load:.2f}"


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--lab", metavar="KERNEL", help="measure an emulated run with this kernel")
    parser.add_argument(
        "--moves",
        metavar="KERNEL",
        help="measure moves of a guest on the emulated host with this kernel",
    )
    parser.add_argument(
        "--pairs", type=int, default=7, help="number of alternating runs (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="minimum duration of a run (default: %(default)s)",
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=10_000,
        help="number of scenarios for the memory measurement (default: %(default)s)",
    )
    parser.add_argument(
        "--trace",
        type=int,
        metavar="SECONDS",
        help="measure trace and judge, and trace eight vCPUs for so long",
    )
    arguments = parser.parse_args()
    # As the command does.
    gc.set_threshold(50_000)
    print(f"machine: {_machine()}")
    if arguments.moves:
        bench_moves.measure(arguments.moves)
    elif arguments.lab:
        bench_lab.measure(arguments.lab)
    elif arguments.trace:
        bench_trace.measure(arguments.trace)
    else:
        effort = bench_local.Effort(arguments.pairs, arguments.seconds, arguments.memory)
        bench_local.measure(effort)
        bench_model.measure()


if __name__ == "__main__":
    main()
