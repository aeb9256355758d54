"""The form of a restore order, as the help and the manual show it."""

from __future__ import annotations

from kvmprobe.scenarios.presets import CALLS, STATES

ORDERS = "\n".join(
    [
        "restore orders:",
        "  --order FILE takes TOML; the order is called as the file:",
        '    program = "my VMM"',
        '    version = "2.1"',
        '    source = "where the order is from"',
        '    calls = ["cpuid", "sregs", "msrs", "xcrs", "xsave", "events"]',
        "  Its states, by default all but the last:",
        f"    states = {list(STATES)}",
        "  calls:",
        *(f"    {name:11} {meaning}" for name, meaning in CALLS.items()),
        "",
    ]
)
