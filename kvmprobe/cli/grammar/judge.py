"""The grammar of ``kvmprobe judge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.grammar.host import add_host_checks
from kvmprobe.cli.grammar.shared import (
    add_cold,
    add_device,
    add_host_or_lab,
    add_sources,
    add_variant,
)
from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

_FINDINGS = """\
what is found, for each vCPU, when its guest is first entered:
  error    a call takes the host down; a restored value is lost, by which
           call; a value that was saved is not restored; permission is
           missing; an image is cut short; a failed call is ignored; a
           call fails on the judged kernel
  warning  a value that the guest's CPUID offers is not restored; a call
           takes hosts with another kernel down
  note     two neighbouring calls do not commute; the recorded kernel did
           what the model does not expect
With --cpu, the processor of each host lacks what that one of the emulated
host lacks.
Calls that the model does not cover are listed, and not judged.  What a
guest does is not known: after its first entry only errors are looked at.
The exit status is 1 if there is an error or a warning.
"""
_REPLAY = """\
A replay makes the recorded calls in one process, in the order in which
they returned, up to the first one that can panic this host (--hazardous
goes on).  Each memory slot has one page of zeros, and each KVM_RUN exits
at once.  Calls that need files of the program, devices or guest memory
are listed, and not made.  What is found:
  error    a call that succeeded in the recording fails; the host dies, or
           logs a fault; the replay does not come to its end
  warning  the kernel's answer is not what the model expects; the replay
           stopped before a call that can panic the host
  note     a call returns or reads something else than in the recording:
           because of another processor or KVM, of a known difference of
           the kernels, or of what the model has no rule for
"""


def add_arguments(judge: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    judge.add_argument(
        "recordings", type=Path, nargs="+", metavar="RECORDING", help="a file of `kvmprobe trace`"
    )
    judge.add_argument(
        "--kernel",
        action="append",
        default=[],
        metavar="RUN|RELEASE",
        help="judge for the host of a kept run, or for a release: its known defects are those of "
        "its number, the rest is as recorded (default: the recorded kernel); of a replay: the "
        "emulated host's kernel, as for `kvmprobe run`; can be repeated",
    )
    judge.add_argument(
        "--defect",
        action="append",
        default=[],
        metavar="ID",
        help="judge for a kernel with this known defect (B1, O1, ...) as well",
    )
    judge.add_argument("--json", action="store_true", help="print a JSON document")
    judge.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well")
    judge.add_argument("--sarif", type=Path, metavar="FILE", help="write SARIF 2.1.0 as well")
    _add_replay(judge)
    end_with(judge, _FINDINGS, _REPLAY)


# What only a replay takes, as it is if it is not given.
_ONLY: Mapping[str, object] = {
    "target": None,
    "hazardous": False,
    "allow_tainted": False,
    "shared": False,
    "cpus": 1,
    "append": [],
    "modules": None,
    "cold": False,
}


def _add_replay(judge: argparse.ArgumentParser) -> None:
    """Declare the options of a replay, and ``--cpu``."""
    replay = judge.add_argument_group("replay")
    replay.add_argument(
        "--replay",
        action="store_true",
        help="issue the recorded calls, and compare what the kernel answers with the recording and "
        "with the model",
    )
    add_host_or_lab(replay, "where to issue them: on this host or on the emulated host")
    add_device(replay)
    add_variant(replay)
    replay.add_argument(
        "--modules", type=Path, metavar="DIR", help="directory with the modules of a bzImage"
    )
    add_sources(replay)
    add_cold(replay)
    add_host_checks(replay)
    judge.set_defaults(jobs=1)


def check(arguments: argparse.Namespace) -> None:
    """Refuse what needs a replay without one, and what a replay does not take.

    :raises UsageError: see above
    """
    if arguments.replay:
        if arguments.defect:
            raise UsageError("--defect: a replay finds the defects of its kernel by itself")
        return
    given = [name for name, unset in _ONLY.items() if getattr(arguments, name) != unset]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} is for --replay")
