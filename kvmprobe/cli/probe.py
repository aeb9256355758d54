"""``kvmprobe probe``: what CPU, kernel and KVM offer, what is testable, what is at risk.

Exit status 0: something is testable; 4: nothing is.  The doctor's advice does not change it.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvmprobe.cli.fit_host import notice
from kvmprobe.cli.grammar.shared import (
    add_cold,
    add_device,
    add_host_or_lab,
    add_kernel,
    add_variant,
)
from kvmprobe.cli.places import emulated_host, is_emulated, refuse_kernel_of_host
from kvmprobe.cli.terminal import progress
from kvmprobe.errors import ExitCode, Unavailable, UsageError
from kvmprobe.execution.driver import Driver
from kvmprobe.execution.packed import unpack
from kvmprobe.execution.place import Risk, ThisHost
from kvmprobe.execution.preflight import classes
from kvmprobe.execution.probe_document import SCHEMA
from kvmprobe.execution.probing import examine
from kvmprobe.host.arming import disarm, unrestored
from kvmprobe.host.doctor.examination import examine_host
from kvmprobe.host.files import HostFiles
from kvmprobe.reports.behaviours import behaviour_data, behaviour_lines
from kvmprobe.reports.console import print_lines
from kvmprobe.reports.doctor import doctor_lines
from kvmprobe.reports.facts import fact_lines
from kvmprobe.results.codec import to_json
from kvmprobe.results.record import Target
from kvmprobe.results.run_directory import runs_folder
from kvmprobe.xstate.cpuid import CpuidTable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console

    from kvmprobe.execution.place import Place
    from kvmprobe.execution.preflight import Preflight
    from kvmprobe.host.doctor.advice import Advice


def add_arguments(probe: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    probe.add_argument("--json", action="store_true", help="as a JSON document")
    probe.add_argument(
        "--disarm",
        action="store_true",
        help="only restore the sysctls that a killed `run --arm` left changed",
    )
    add_device(probe)
    add_host_or_lab(probe, "what to probe: this host or the emulated host")
    add_kernel(probe)
    add_variant(probe)
    add_cold(probe)
    probe.set_defaults(jobs=1)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Probe this host in a child of a fresh process, or an emulated host.

    :raises UsageError: the arguments contradict each other
    :raises Unavailable: ``not_root``: what a killed run has left cannot be restored
    :raises LabError: the emulated host is not available, or does not boot
    """
    refuse_kernel_of_host(arguments)
    if arguments.disarm:
        left = disarm(notice)
        notice("disarmed" if left else "nothing is armed: no killed run left a sysctl changed")
        return ExitCode.OK
    if not is_emulated(arguments):
        return _probe(arguments, console, ThisHost(arguments.device))
    with progress() as status:
        host = emulated_host(arguments, status)
        with host:
            return _probe(arguments, console, host)


def _probe(arguments: argparse.Namespace, console: Console, place: Place) -> ExitCode:
    with place.open() as link:
        driver = Driver(link, place.timing)
        try:
            preflight = examine(driver)
        except Unavailable as reason:
            return _unavailable(arguments, console, place, driver.facts(), reason)
    findings = _examined(place, preflight.facts)
    if arguments.json:
        console.print_json(json.dumps(_document(place, preflight, findings)))
    else:
        print_lines(console, _text(place, preflight, findings))
    return ExitCode.OK


def _unavailable(
    arguments: argparse.Namespace,
    console: Console,
    place: Place,
    facts: dict[str, Any],
    reason: Unavailable,
) -> ExitCode:
    """Print what can be found out without KVM."""
    findings = _examined(place, facts)
    if arguments.json:
        untestable = {"code": reason.code, "reason": str(reason)}
        document = {
            **_head(place),
            "facts": facts,
            "doctor": [advice.to_json() for advice in findings],
            "untestable": untestable,
        }
        console.print_json(json.dumps(document))
    else:
        where = place.target.description
        verdict = f"nothing is testable on {where}: {reason.code}: {reason}"
        lines = [verdict, *doctor_lines(findings), *fact_lines(facts)]
        print_lines(console, lines)
    return reason.exit_code


def _head(place: Place) -> dict[str, Any]:
    return {"schema": SCHEMA, "target": to_json(Target, place.target)}


def _examined(place: Place, facts: dict[str, Any]) -> tuple[Advice, ...]:
    """Return the doctor's advice, which is about this host; none about an emulated one."""
    if place.risk is Risk.EXPENDABLE:
        return ()
    # Loaded only here: the lab's modules are many.
    from kvmprobe.lab.cache import Cache  # noqa: PLC0415

    folders = {
        "runs": _found(runs_folder),
        "cache": _found(lambda: Cache.from_environment().root),
        "temporary files": Path(tempfile.gettempdir()),
    }
    return examine_host(facts, HostFiles(), folders, unrestored())


def _found(folder: Callable[[], Path]) -> Path | UsageError:
    """Return a folder, or the reason why it cannot be used."""
    try:
        return folder()
    except UsageError as error:
        return error


def _document(place: Place, preflight: Preflight, findings: tuple[Advice, ...]) -> dict[str, Any]:
    facts = dict(preflight.facts)
    kvm = dict(facts["kvm"])
    for name in ("supported_cpuid", "supported_cpuid_permitted"):
        table = CpuidTable.from_bytes(unpack(kvm[name]))
        kvm[name] = [entry._asdict() for entry in table.entries]
    facts["kvm"] = kvm
    return {
        **_head(place),
        "facts": facts,
        "behaviours": behaviour_data(preflight.profile.behaviours),
        "undetermined": sorted(b.name for b in preflight.undetermined),
        "testable": [asdict(c) for c in classes(preflight)],
        "doctor": [advice.to_json() for advice in findings],
    }


def _text(place: Place, preflight: Preflight, findings: tuple[Advice, ...]) -> list[str]:
    where = f"testable on {place.target.description}"
    lines = [where if place.target.emulated else "testable here"]
    for kind in classes(preflight):
        lines.append(f"  {'yes' if kind.testable else 'no '}  {kind.name}")
        if not kind.testable:
            lines.append(f"         {kind.code}: {kind.reason}")
    return [
        *lines,
        *(doctor_lines(findings) if findings else ()),
        *fact_lines(preflight.facts),
        "behaviours of this kernel, each determined by a probe",
        *behaviour_lines(preflight.profile.behaviours, preflight.undetermined),
    ]
