"""A host's facts as lines of text."""

from __future__ import annotations

from typing import Any

from kvmprobe.abi.numbers import Msr
from kvmprobe.errors import errno_name
from kvmprobe.host.taint import letters
from kvmprobe.xstate.features import XFeature, names

_FEATURES = ("xsaves", "xfd", "amx_tile")
_UNKNOWN = "unknown"


def fact_lines(facts: dict[str, Any]) -> list[str]:
    """Return CPU, permissions, KVM and settings, a line a fact."""
    lines = [f"kernel   {facts['kernel']['release']} {facts['kernel']['version']}"]
    lines += _kernel(facts["environment"]["kernel"])
    lines += _cpu(facts["cpu"])
    lines += _machine(facts["environment"])
    lines.append("permission (arch_prctl)")
    lines += [f"  {name:24} {_xcomp(value)}" for name, value in facts["xcomp"].items()]
    if facts["kvm"]:
        lines += _kvm(facts["kvm"])
    lines.append("settings")
    for name, value in facts["settings"].items():
        shown = _taint(value) if name.endswith("tainted") and value is not None else value
        lines.append(f"  {name:24} {'not readable' if value is None else shown}")
    return lines


def _kernel(kernel: dict[str, Any]) -> list[str]:
    config = kernel["config"]
    shown = f"{config['source']}, SHA-256 {config['sha256']}" if config else _UNKNOWN
    return [
        f"  build id                 {kernel['build_id'] or _UNKNOWN}",
        f"  configuration            {shown}",
        f"  command line             {kernel['cmdline'] or _UNKNOWN}",
        f"  clocksource              {kernel['clocksource'] or _UNKNOWN}",
    ]


def _machine(environment: dict[str, Any]) -> list[str]:
    cpu, machine, tool = (environment[name] for name in ("cpu", "machine", "tool"))
    vendor = machine["hypervisor"]["vendor"] or "no signature"
    under = f"yes, {vendor}" if machine["hypervisor"]["bit"] else "no"
    made = f"Python {tool['python']}, built with kernel headers {tool['headers']}"
    return [
        f"  microcode                {', '.join(cpu['microcode']) or _UNKNOWN}",
        f"  bugs that Linux knows    {' '.join(cpu['bugs']) or 'none'}",
        f"machine  {', '.join(machine['dmi'].values()) or 'the firmware does not say'}",
        f"  under a hypervisor       {under}",
        f"tool     kvmprobe {tool['version']}, {made}",
    ]


def _cpu(cpu: dict[str, Any]) -> list[str]:
    lines = [
        f"CPU      {cpu['brand'] or cpu['vendor']}, signature {cpu['signature']:#x}",
        f"  XCR0                     {names(cpu['xcr0'])}",
        f"  XSAVES, XFD, AMX         {', '.join(_yes(cpu[n]) for n in _FEATURES)}"
        + (f", palettes up to {cpu['palettes']}" if cpu["palettes"] else ""),
        f"  MXCSR_MASK               {cpu['mxcsr_mask']:#x}",
        "  component                offset   size",
    ]
    for number, place in cpu["components"].items():
        known = int(number) in set(XFeature)
        name = XFeature(int(number)).name if known else "?"
        marks = [mark for mark in ("supervisor", "aligned", "xfd") if place[mark]]
        where = f"{place['offset']:6} {place['size']:6}"
        lines.append(f"    {int(number):2} {name:20} {where}  {' '.join(marks)}".rstrip())
    return lines


def _kvm(kvm: dict[str, Any]) -> list[str]:
    modules = ", ".join(kvm["vendor_modules"]) or "no vendor module under /sys/module"
    supp = kvm.get("xcomp_guest_supp")
    listed = {Msr(index).name for index in kvm["msrs"] if index in set(Msr)}
    request = kvm["permission_request"]
    offered = kvm["xcomp_guest_supp_error"] if supp is None else names(supp)
    sizes = f"{kvm['cap_xsave2']} bytes, {kvm['cap_xsave2_permitted']} with permission"
    return [
        f"KVM      {modules}",
        f"  XCOMP_GUEST_SUPP         {offered}",
        f"  KVM_CAP_XSAVE2           {sizes}",
        f"  guest permission for 18  {'granted' if request == 0 else '-' + errno_name(-request)}",
        f"  MSR index list has       {', '.join(sorted(listed)) or 'neither XFD, XFD_ERR nor XSS'}",
        f"  real-mode guest          {kvm['guest_code']['real_mode']}",
        f"  long-mode guest          {kvm['guest_code']['long_mode']}",
    ]


def _xcomp(value: int) -> str:
    return names(value) if value > 0 else f"-{errno_name(-value)}" if value else "0"


def _yes(value: int) -> str:
    return "yes" if value else "no"


def _taint(value: int) -> str:
    return f"{value} ({letters(value)})" if value else "0"
