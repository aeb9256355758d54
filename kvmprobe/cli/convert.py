"""``kvmprobe convert``: a scenario of what people attach to reports, or an order of a recording."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.files import write
from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.recorded_order import is_recording, order_file
from kvmprobe.cli.terminal import print_line
from kvmprobe.errors import ExitCode, RecordingError, ScenarioError
from kvmprobe.scenarios.attached.parts import Template
from kvmprobe.scenarios.attached.reading import read_attached
from kvmprobe.scenarios.attached.replaying import replaying
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.strict_json import content_of

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.scenarios.attached.parts import Part

_NOT_IN_AN_ID = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST = 64
FORMS = """\
what a file may have, found by its content:
  CPU template  JSON with cpuid_modifiers, msr_modifiers and
                kvm_capabilities, as Firecracker reads it.  A capability
                must be one that the model knows; "!N" calls nothing.  An
                MSR of which bits stay (x in its bitmap) is left out, and
                reported.  A change of a leaf that KVM does not offer on
                the host changes nothing.
  CPUID         text of `cpuid -r`; the first processor is used
  SREGS         struct kvm_sregs or struct kvm_sregs2, raw
  XSAVE image   4096 bytes or more, raw, as KVM_GET_XSAVE2 returns it
A recording of `kvmprobe trace` becomes a restore order, for `kvmprobe run
--order`: the calls on its first vCPU, up to the first entry of the guest.
What an order cannot have is reported.
The scenario gives them to a new vCPU: CPUID, MSRs, SREGS, XSAVE; then it
runs HLT, if there are no SREGS.  An MSR that the model does not know is
set, and not judged.  What the model does not cover otherwise is refused.
"""


def add_arguments(convert: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    convert.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="an attached file, or one recording; several files give one vCPU different parts of "
        "its state",
    )
    convert.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the scenario there, for `replay`, `explain` and `repro`, or the order, for "
        "`run --order`, instead of to standard output",
    )
    end_with(convert, FORMS)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:  # noqa: ARG001
    """Write the scenario, or the order; nothing is written unless every file can be read.

    :raises UsageError: a file cannot be read, or two give the same
    :raises RecordingError: a recording is beside other files, or has no order
    :raises ScenarioError: a mistake in a file, or the model does not cover what it has
    """
    if recordings := [file for file in arguments.files if is_recording(file)]:
        if len(arguments.files) > 1:
            raise RecordingError(f"{recordings[0]} is a recording; give it alone")
        return _write(order_file(recordings[0]), arguments.output)
    parts = {file: _read(file) for file in dict.fromkeys(arguments.files)}
    scenario = replaying(_id(next(iter(parts))), {str(file): part for file, part in parts.items()})
    for file, part in parts.items():
        for line in part.left_out if isinstance(part, Template) else ():
            print_line(f"kvmprobe: {file}: {line}")
    return _write(to_document(scenario), arguments.output)


def _write(text: str, output: Path | None) -> ExitCode:
    if output is None:
        sys.stdout.write(text)
        return ExitCode.OK
    write("--output", output, text)
    return ExitCode.OK


def _read(file: Path) -> Part:
    try:
        return read_attached(content_of(file))
    except ScenarioError as error:
        raise ScenarioError(f"{file}: {error}") from error


def _id(file: Path) -> str:
    """Return an id for the scenario, by the file's name."""
    return f"attached.{_NOT_IN_AN_ID.sub('-', file.stem)[:_LONGEST] or 'file'}"
