"""Runs as they would be recorded of kernels with chosen defects; no kernel is asked."""

from __future__ import annotations

from dataclasses import replace

from kvmprobe.checkers.session import Checkers
from kvmprobe.judge.verdicts import judged, with_findings
from kvmprobe.results.record import Crash, Target
from kvmprobe.results.run_document import RunDocument
from kvmprobe.results.trace import End
from kvmprobe.scenarios import catalog
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST

CONSOLE = """\
[    2.973517] WARNING: arch/x86/kernel/traps.c:1519 at exc_device_not_available+0xdc/0xf0, CPU#0
[    2.973960] Modules linked in: kvm_intel kvm irqbypass
[    2.974715] RIP: 0010:exc_device_not_available+0xdc/0xf0
[    2.975810] RSP: 0018:ffffc900011afc08 EFLAGS: 00010046
[    2.976051] RAX: 0000000000000000 RBX: ffffc900011afc38 RCX: 00000000000001c5
[    2.976377] RDX: 0000000000000000 RSI: 0000000000000000 RDI: 00000000000001c5
[    2.987656] Oops: unexpected #NM exception: 0000 [#1] SMP NOPTI
[    2.988649] RIP: 0010:restore_fpregs_from_fpstate+0x45/0x90
[    2.992710] Call Trace:
[    2.992823]  <TASK>
[    2.982178]  ? restore_fpregs_from_fpstate+0x3c/0x90
[    2.992920]  fpu_swap_kvm_fpstate+0x71/0x110
[    2.993119]  kvm_arch_vcpu_ioctl_run+0x535/0x1880 [kvm]
[    2.997958] Kernel panic - not syncing: Fatal exception
"""
CRASH = Crash(
    step=0,
    during=None,
    headline="Oops: unexpected #NM exception: 0000 [#1] SMP NOPTI",
    function="restore_fpregs_from_fpstate",
    frames=("fpu_swap_kvm_fpstate", "kvm_arch_vcpu_ioctl_run"),
    report=CONSOLE,
)


def some_scenarios(count):
    """Scenarios from all over the catalogue of the AMX host."""
    every = catalog.scenarios(AMX_HOST)
    return [every[len(every) * place // count] for place in range(count)]


def run_of(kernel, scenarios, *behaviours):
    """The run of these scenarios on a kernel with exactly these behaviours."""
    host = replace(AMX_HOST, behaviours=frozenset(behaviours))
    target = Target("lab", kernel, f"linux-image {kernel}-1")
    checkers = Checkers(host)
    records = []
    for place, scenario in enumerate(scenarios):
        trace = trace_of(scenario, AMX_HOST, *behaviours)
        trace = replace(trace, seconds=0.003 + place * 7 % 1000 / 1e6)
        crash = CRASH if trace.end is End.LOST else None
        record = judged(scenario, host, trace, target, crash)
        found = (
            *checkers.within(scenario, trace),
            *checkers.across(scenario, trace, record.known),
        )
        records.append(with_findings(record, found))
    return RunDocument("kvmprobe 0", ("kvmprobe", "run"), tuple(records), name=f"{kernel}.json")
