"""A rule of the model as its reader may follow it: without our numbers, with the kernel's paths.

The model names a file by its last part and a function, ``core.c: fpu_update_guest_xfd``.
"""

from __future__ import annotations

import re

# Numbers of kvmprobe's own lists of statements and of defects, which nobody else has.
_INV = r"INV-\d+(?: to INV-\d+)?"
_NUMBERED = re.compile(rf" \({_INV}(?:, {_INV})*\)|{_INV}, | \(contract [\d.]+\)|(?<=\()O\d+, ")
_NAMED = re.compile(r"(?<![\w/.])(?P<file>\w+\.c)(?=: (?P<function>\w+))")
_FOLDERS = {
    "core.c": "arch/x86/kernel/fpu",
    "xstate.c": "arch/x86/kernel/fpu",
    "process.c": "arch/x86/kernel",
    "signal.c": "arch/x86/kernel",
    "x86.c": "arch/x86/kvm",
    "cpuid.c": "arch/x86/kvm",
    "msrs.c": "arch/x86/kvm",
    "regs.c": "arch/x86/kvm",
    "vmx.c": "arch/x86/kvm/vmx",
    "kvm_main.c": "virt/kvm",
    "exec.c": "fs",
    "file.c": "fs",
    "open.c": "fs",
    "fork.c": "kernel",
    "sys.c": "kernel",
}
# Two files have the name; this function is in the other one.
_FOLDERS_OF_FUNCTIONS = {"do_sigaltstack": "kernel"}


def without_numbers(rule: str) -> str:
    """Return a rule without kvmprobe's own numbers."""
    return _NUMBERED.sub("", rule)


def with_paths(rule: str) -> str:
    """Return a rule with the kernel's files as paths within its source."""
    return _NAMED.sub(_with_path, rule)


def files_in(rule: str) -> tuple[str, ...]:
    """Return the paths of the kernel's files that a rule names, in its order."""
    found = (_with_path(match) for match in _NAMED.finditer(rule))
    return tuple(dict.fromkeys(path for path in found if "/" in path))


def _with_path(match: re.Match[str]) -> str:
    folder = _FOLDERS_OF_FUNCTIONS.get(match["function"]) or _FOLDERS.get(match["file"])
    return f"{folder}/{match['file']}" if folder else match["file"]
