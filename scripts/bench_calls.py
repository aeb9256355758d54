"""Writes the scenarios' lowered calls as the C tables that ``bench_baseline.c`` includes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Call,
    Captured,
    Immediate,
    Ioctl,
    Literal,
    MapMemory,
    OpenKvm,
    Output,
    RunVcpu,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.scenario import Scenario

SOURCE = Path(__file__).with_name("bench_baseline.c")
_NO_CAPTURE = "CAPTURES"
_ROLES = {"kvm": "KVM", "vm": "VM", "vcpu0": "VCPU"}


def build(scenarios: Sequence[Scenario], host: HostProfile, directory: Path) -> Path:
    """Compile the C program for these scenarios; returns the executable."""
    directory.mkdir()
    (directory / "bench_calls.h").write_text(_Tables(scenarios, host).text())
    program = directory / "bench_baseline"
    flags = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-I", str(directory))
    subprocess.run(["cc", *flags, "-o", str(program), str(SOURCE)], check=True)
    return program


def has_all_calls_of(scenario: Scenario, host: HostProfile) -> bool:
    """Tell whether the C program can issue this scenario."""
    return all(_is_written(op.lower(host)) for _, op in scenario.ops())


def _is_written(call: Call) -> bool:
    names = {getattr(call, "on", ""), getattr(call, "binds", ""), getattr(call, "by", "")}
    argument = getattr(call, "argument", None)
    patched = isinstance(argument, Captured) and argument.patches != ()
    return (
        isinstance(call, OpenKvm | ArchPrctl | RunVcpu | MapMemory | Ioctl)
        and isinstance(argument, Immediate | Literal | Output | Captured | None)
        and not (isinstance(call, ArchPrctl) and not isinstance(argument, Immediate))
        and not patched
        and names <= {"", *_ROLES}
    )


class _Tables:
    def __init__(self, scenarios: Sequence[Scenario], host: HostProfile) -> None:
        self._captures: dict[str, int] = {}
        self._blobs: dict[bytes, str] = {}
        self._calls: dict[Call, int] = {}
        self._scenarios = [
            [self._number(op.lower(host)) for _, op in scenario.ops()] for scenario in scenarios
        ]

    def text(self) -> str:
        rows = [f"\t{self._row(call)}," for call in self._calls]
        lists = [
            f"static const uint16_t scenario_{nr}[] = {{{', '.join(map(str, numbers or [0]))}}};"
            for nr, numbers in enumerate(self._scenarios)
        ]
        heads = [f"\t{{scenario_{nr}, {len(ns)}}}," for nr, ns in enumerate(self._scenarios)]
        calls = rows or ["\t{.kind = OPEN_KVM},"]
        blobs = [
            f"static const unsigned char {name}[] = {{{', '.join(map(str, content or b'0'))}}};"
            for content, name in self._blobs.items()
        ]
        return "\n".join(
            [
                *blobs,
                *("static const struct call calls[] = {", *calls, "};"),
                *lists,
                *("static const struct scenario scenarios[] = {", *heads, "};", ""),
            ]
        )

    def _number(self, call: Call) -> int:
        return self._calls.setdefault(call, len(self._calls))

    def _blob(self, content: bytes) -> str:
        name = self._blobs.setdefault(content, f"blob_{len(self._blobs)}")
        return f".bytes = {name}, .length = {len(content)}"

    def _capture(self, name: str) -> str:
        number = self._captures.setdefault(name, len(self._captures)) if name else _NO_CAPTURE
        return f".capture = {number}"

    def _row(self, call: Call) -> str:
        match call:
            case OpenKvm():
                return "{.kind = OPEN_KVM}"
            case ArchPrctl(code, Immediate(feature_nr)):
                return f"{{.kind = ARCH_PRCTL, .number = {code:#x}, .value = {feature_nr}}}"
            case RunVcpu(on, immediate_exit):
                return f"{{.kind = RUN_VCPU, .on = {_role(on)}, .value = {immediate_exit}}}"
            case MapMemory(on, slot, address, content):
                place = f".on = {_role(on)}, .number = {slot}, .value = {address:#x}"
                return f"{{.kind = MAP_MEMORY, {place}, {self._blob(content)}}}"
            case Ioctl():
                return (
                    f"{{{self._ioctl(call)}, .on = {_role(call.on)}, .number = {call.number:#x}}}"
                )
            case other:
                raise TypeError(f"{SOURCE.name} has no such call: {other!r:.100}")

    def _ioctl(self, call: Ioctl) -> str:
        match call.argument:
            case Immediate(value):
                binds = _role(call.binds) if call.binds else "-1"
                return f".kind = IOCTL_VALUE, .value = {value}, .binds = {binds}"
            case Literal(content):
                return f".kind = IOCTL_LITERAL, {self._blob(content)}"
            case Output(size, head, capture):
                tail = f"{self._blob(head)}, {self._capture(capture)}"
                return f".kind = IOCTL_OUTPUT, .value = {size}, {tail}"
            case Captured(name, ()):
                return f".kind = IOCTL_CAPTURED, {self._capture(name)}"
            case other:
                raise TypeError(f"{SOURCE.name} has no such argument: {other!r:.100}")


def _role(name: str) -> str:
    """The scenarios of the benchmark have one descriptor of each kind."""
    return _ROLES[name]
