"""Small recordings, made by the writer, and as lines to break."""

from __future__ import annotations

import json
import lzma
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.abi import ioctls
from kvmprobe.recordings.lines import (
    Call,
    Cpu,
    EndReason,
    Header,
    ObjectKind,
    ObjectLine,
    Order,
    ProcessChange,
    ProcessLine,
)
from kvmprobe.recordings.writer import RecordingWriter
from kvmprobe.results.schema import RECORDING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PROGRAMS = Path(__file__).parents[1] / "recordings"
HEADER = Header(
    schema=RECORDING,
    tool="kvmprobe 0",
    architecture="x86_64",
    kernel="6.18.1",
    kernel_version="#1 SMP",
    cpu=Cpu("GenuineIntel", 6, 143, 8),
    command=("vmm", "--restore"),
    began="2026-11-30T00:00:00Z",
)


def of_program(name: str, folder: Path) -> Path:
    """Unpack a recording of a real program into a folder; returns the file."""
    path = folder / name
    path.write_bytes(lzma.decompress((_PROGRAMS / f"{name}.jsonl.xz").read_bytes()))
    return path


@contextmanager
def recording(path: Path, host: Mapping[str, Any] | None = None) -> Iterator[RecordingWriter]:
    """Begin a recording of process 0 with the object vcpu0, and close the file; not ended."""
    with path.open("wb") as file:
        writer = RecordingWriter(file, HEADER, host)
        writer.write(ProcessLine(0, ProcessChange.START, 0, 100, program="/usr/bin/vmm"))
        writer.write(
            ObjectLine("vcpu0", ObjectKind.VCPU, "anon_inode:kvm-vcpu:0", of=None, number=0)
        )
        yield writer


def call(order: int, request: int = ioctls.SET_XSAVE.number, **members: Any) -> Call:
    """Return a call on vcpu0 that began at this place and ended at the next."""
    members = {"result": 0} | members
    return Call(Order(order, order + 1), 100, 0, "vcpu0", 7, request, 0x1000, **members)


def small(path: Path) -> list[dict[str, Any]]:
    """Write a complete recording of one KVM_SET_XSAVE; returns its lines."""
    with recording(path) as writer:
        writer.write(call(1, sent=writer.payload(b"\1" * 4096)))
        writer.end(3, EndReason.ENDED, 0)
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    """Write lines as a file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
