"""``kvmprobe probe``: what this CPU, kernel and KVM offer, and what is testable here."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kvmprobe.errors import ExitCode, Unavailable
from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.preflight import classes, examine
from kvmprobe.reports.behaviours import behaviour_data, behaviour_lines
from kvmprobe.reports.facts import fact_lines
from kvmprobe.scenarios.calls import unpack
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from kvmprobe.execution.preflight import Preflight

SCHEMA = "kvmprobe-probe/1"


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Probe this host in a child of a fresh process."""
    place = ThisHost(arguments.device)
    with place.open() as link:
        driver = Driver(link, place.timing)
        try:
            preflight = examine(driver)
        except Unavailable as reason:
            return _unavailable(arguments, console, driver.facts(), reason)
    if arguments.json:
        console.print_json(json.dumps(_document(preflight)))
    else:
        console.print("\n".join(_text(preflight)), soft_wrap=True)
    return ExitCode.OK


def _unavailable(
    arguments: argparse.Namespace, console: Console, facts: dict[str, Any], reason: Unavailable
) -> ExitCode:
    """Tell what can be told without KVM."""
    if arguments.json:
        untestable = {"code": reason.code, "reason": str(reason)}
        console.print_json(json.dumps({"schema": SCHEMA, "facts": facts, "untestable": untestable}))
    else:
        console.print("\n".join(fact_lines(facts)), soft_wrap=True)
        console.print(f"nothing is testable on this host: {reason.code}: {reason}", soft_wrap=True)
    return reason.exit_code


def _document(preflight: Preflight) -> dict[str, Any]:
    facts = dict(preflight.facts)
    kvm = dict(facts["kvm"])
    for name in ("supported_cpuid", "supported_cpuid_permitted"):
        table = CpuidTable.from_bytes(unpack(kvm[name]))
        kvm[name] = [entry._asdict() for entry in table.entries]
    facts["kvm"] = kvm
    return {
        "schema": SCHEMA,
        "facts": facts,
        "behaviours": behaviour_data(preflight.profile.behaviours),
        "undetermined": sorted(b.name for b in preflight.undetermined),
        "testable": [asdict(c) for c in classes(preflight)],
    }


def _text(preflight: Preflight) -> list[str]:
    lines = fact_lines(preflight.facts)
    lines.append("behaviours of this kernel, each told by a probe")
    lines += behaviour_lines(preflight.profile.behaviours, preflight.undetermined)
    lines.append("testable here")
    for kind in classes(preflight):
        lines.append(f"  {'yes' if kind.testable else 'no '}  {kind.name}")
        if not kind.testable:
            lines.append(f"         {kind.code}: {kind.reason}")
    return lines
