"""Restore orders as data: one TOML file for each program and version.

``program``, ``version`` and ``source`` say whose order it is; ``calls`` are the parts of a vCPU in
the order in which it restores them, as :data:`CALLS` names them; ``states`` are those of the saved
guest that the catalogue restores in this order; ``moved_as`` is the order's name in the migration
family, if the catalogue moves a guest in it.  A user's file has the same form.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import UsageError
from kvmprobe.model.guest_migration import Part
from kvmprobe.scenarios.strict_json import MOST_BYTES, content_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CALLS: Mapping[str, str] = {
    "cpuid": "KVM_SET_CPUID2 of what KVM supports",
    "no-cpuid": "KVM_SET_CPUID2 of an empty table",
    "regs": "KVM_SET_REGS",
    "sregs": "KVM_SET_SREGS",
    "sregs2": "KVM_SET_SREGS2",
    "events": "KVM_SET_VCPU_EVENTS",
    "mp-state": "KVM_SET_MP_STATE",
    "debugregs": "KVM_SET_DEBUGREGS",
    "lapic": "KVM_SET_LAPIC",
    "xcrs": "KVM_SET_XCRS",
    "xsave": "KVM_SET_XSAVE",
    "xsave-all": "KVM_SET_XSAVE without tiles",
    "xsave-init": "KVM_SET_XSAVE of an image with XSTATE_BV=3",
    "fpu": "KVM_SET_FPU",
    "msrs": "KVM_SET_MSRS: IA32_PAT, IA32_XFD, IA32_XFD_ERR, IA32_XSS",
    "listed-msrs": "KVM_SET_MSRS of all that KVM lists",
    "each-msr": "KVM_SET_MSRS, one MSR a call",
    "other-msrs": "KVM_SET_MSRS with neither IA32_XFD nor IA32_XSS",
    "xss": "KVM_SET_MSRS of IA32_XSS",
    "xss-msrs": "KVM_SET_MSRS with IA32_XSS, without IA32_XFD",
    "cet-msrs": "the same and the MSRs of CET",
    "ssp": "KVM_SET_ONE_REG of the guest's SSP",
    "sweep": "every GET, as QEMU does between two restores",
}
STATES = ("no-tiles", "tiles", "xfd-armed", "cet")
DEFAULT_STATES = STATES[:3]
_PARTS = {
    "sregs": Part.SREGS,
    "sregs2": Part.SREGS,
    "regs": Part.REGS,
    "xsave": Part.XSAVE,
    "xcrs": Part.XCRS,
    "msrs": Part.MSRS,
    "listed-msrs": Part.MSRS,
    "each-msr": Part.MSRS,
    "events": Part.EVENTS,
    "debugregs": Part.DEBUGREGS,
}
# Lists of MSRs that leave out IA32_XFD.
_LISTS = {
    "other-msrs": Part.OTHER_MSRS,
    "xss-msrs": Part.XSS_MSRS,
    "cet-msrs": Part.CET_MSRS,
}
_TEXTS = ("program", "version", "source")
_KEYS = (*_TEXTS, "calls", "states", "moved_as")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
MOST_CALLS = 64
_SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class Preset:
    """One program's order.

    :ivar name: of the file, without its suffix
    :ivar tokens: the parts that it restores, in order
    """

    name: str
    program: str
    version: str
    source: str
    tokens: tuple[str, ...]
    states: tuple[str, ...] = DEFAULT_STATES
    moved_as: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts of a vCPU in this order, followed by the parts that it leaves out."""
        parts = [_PARTS[token] for token in self.tokens if token in _PARTS]
        return tuple(dict.fromkeys((*parts, *_PARTS.values())))

    @property
    def parts_with_own_msrs(self) -> tuple[Part, ...]:
        """The same for an order with its own list of MSRs."""
        places = {**_PARTS, **_LISTS}
        parts = [places[token] for token in self.tokens if token in places]
        others = [part for part in _PARTS.values() if part is not Part.MSRS]
        return tuple(dict.fromkeys((*parts, *others)))

    @property
    def restores_ssp(self) -> bool:
        """True if it restores the guest's SSP."""
        return "ssp" in self.tokens

    @property
    def irqchip(self) -> bool:
        """True if the interrupt controller is in the kernel; some MSRs need it."""
        return not {"lapic", "listed-msrs", "sweep"}.isdisjoint(self.tokens)


@cache
def presets() -> tuple[Preset, ...]:
    """Return the built-in orders, by name."""
    folder = files("kvmprobe.scenarios.presets")
    found = [file for file in folder.iterdir() if file.name.endswith(_SUFFIX)]
    found.sort(key=lambda file: file.name.removesuffix(_SUFFIX))
    return tuple(
        _preset(file.name, file.name.removesuffix(_SUFFIX), file.read_text("utf-8"))
        for file in found
    )


def read_preset(path: Path) -> Preset:
    """Return the order in a user's file.

    :raises UsageError: it cannot be read, or has no order; the message has path, line or key, and
        what was expected
    """
    content = content_of(path)
    if len(content) > MOST_BYTES:
        raise UsageError(f"{path}: more than {MOST_BYTES} bytes; no order")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected UTF-8: {error}") from None
    name = path.name.removesuffix(_SUFFIX)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{path}: the order's name is the file's: expected letters a to z, digits, '.' and "
            f"'-', not {name!r}"
        )
    return _preset(str(path), name, text)


def to_toml(preset: Preset) -> str:
    """Return a preset as a file that :func:`read_preset` reads."""
    texts = {key: getattr(preset, key) for key in _TEXTS}
    rows = [f"{key} = {_quoted(text)}" for key, text in texts.items()]
    calls = "".join(f"    {_quoted(token)},\n" for token in preset.tokens)
    states = ", ".join(map(_quoted, preset.states))
    return "\n".join([*rows, f"calls = [\n{calls}]", f"states = [{states}]", ""])


def _quoted(text: str) -> str:
    """Return a basic string of TOML, which has the escapes of JSON, and no DEL."""
    return json.dumps(text).replace("\x7f", "\\u007f")


def _preset(path: str, name: str, text: str) -> Preset:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: expected TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deep for an order") from None
    if unknown := sorted(document.keys() - set(_KEYS)):
        raise UsageError(f"{path}: {unknown[0]}: unknown key; expected {', '.join(_KEYS)}")
    tokens = _words(path, document, "calls", tuple(CALLS))
    if not tokens or len(tokens) > MOST_CALLS:
        raise UsageError(f"{path}: calls: expected 1 to {MOST_CALLS} calls, not {len(tokens)}")
    states = _words(path, {"states": [*DEFAULT_STATES], **document}, "states", STATES)
    program, version, source = (_text(path, document, key) for key in _TEXTS)
    moved_as = _text(path, {"moved_as": "", **document}, "moved_as")
    return Preset(name, program, version, source, tokens, states, moved_as)


def _text(path: str, document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise UsageError(f"{path}: {key}: expected a text, {_found(value)}")
    return value


def _words(
    path: str, document: Mapping[str, Any], key: str, known: Sequence[str]
) -> tuple[str, ...]:
    value = document.get(key)
    if not isinstance(value, list):
        raise UsageError(f"{path}: {key}: expected a list of texts, {_found(value)}")
    for place, word in enumerate(value):
        if not isinstance(word, str) or word not in known:
            raise UsageError(
                f"{path}: {key}[{place}]: expected one of {', '.join(known)}, {_found(word)}"
            )
    return tuple(value)


def _found(value: object) -> str:
    return "and there is none" if value is None else f"not {value!r:.40}"
