"""Kernels that mix up the FPU state of guest and host: the judge sees each in what they answer.

A faulty kernel is the model with one function changed, so that later answers follow the fault.
What such kernels do to the host's registers is in ``support/planted.py`` (LEFT_BEHIND), and for
calls of a patched program in ``support/live_faults.c``.
"""

from __future__ import annotations

import pytest

from kvmprobe.judge.lockstep import agrees_along, answers
from kvmprobe.model import guest
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRun
from kvmprobe.xstate.features import XFeature
from tests.support.fake_kernel import trace_of
from tests.support.hosts import AMX_HOST, B18

ROW = 64
# live_pattern.c: in each word of the calling thread's tiles, and its MXCSR.
HOSTS_ROW, HOSTS_MXCSR = b"\x52\x00\x00\x52" * 16, 0x9FC0


def loads(change):
    """A kernel that enters a guest with something changed in its registers."""
    return guest, "entered", lambda original: lambda *given: change(original(*given))


def saves(change):
    """A kernel that leaves a guest with something changed in its vCPU."""
    return guest, "left", lambda original: lambda *given: change(original(*given))


def with_hosts_row(entered):
    tiles = bytearray(entered.state.get(XFeature.XTILE_DATA, b""))
    tiles[ROW : 2 * ROW] = HOSTS_ROW[: len(tiles)]
    return entered.with_state({XFeature.XTILE_DATA: bytes(tiles)})


def armed(vcpu):
    return vcpu._replace(fpstate=vcpu.fpstate._replace(xfd=B18))


def without_row(original):
    """A save that keeps all of the guest's tiles but one row."""

    def cycle_fpu(host, held):
        saved = original(host, held)
        tiles = saved.contents.get(XFeature.XTILE_DATA)
        if tiles is None:
            return saved
        tiles = tiles[:ROW] + bytes(ROW) + tiles[2 * ROW :]
        return saved._replace(contents={**saved.contents, XFeature.XTILE_DATA: tiles})

    return cycle_fpu


# By fault: the kernel, a scenario that shows it, and the op that shows it first.
FAULTS = {
    "a row of the host's tiles in the guest's": (
        loads(with_hosts_row), "guest.tiles-loaded.tiles", "get-xsave2",
    ),
    "a row of the guest's tiles lost": (
        (guest, "cycle_fpu", without_row), "guest.tiles-loaded.tiles", "get-xsave2",
    ),
    "the host's PKRU in the guest": (
        loads(lambda entered: entered.with_vcpu(entered.vcpu._replace(pkru=0x5555_5554))),
        "guest.pkru-written.tiles", "get-xsave2",
    ),
    "the guest's PKRU lost": (
        saves(lambda vcpu: vcpu._replace(pkru=0)), "guest.pkru-written.tiles", "get-xsave2",
    ),
    "the host's MXCSR in the guest": (
        loads(lambda entered: entered._replace(mxcsr=HOSTS_MXCSR)),
        "guest.mxcsr-loaded.plain", "get-xsave2",
    ),
    "XFD armed after KVM_RUN": (saves(armed), "guest.tiles-loaded.tiles", "get-xfd"),
}  # fmt: skip
each_fault = pytest.mark.parametrize("name", FAULTS)


def first_wrong(scenario, trace):
    """The name of the op whose answer is the first that the judge does not expect."""
    for calls in answers(scenario, ModelRun(AMX_HOST), trace):
        for call in calls:
            if call.difference is not None:
                return call.op.name
    return None


@each_fault
def test_the_judge_sees_what_a_faulty_kernel_answers(name, monkeypatch):
    (module, function, faulty), scenario_id, shown_by = FAULTS[name]
    scenario = catalog.scenario(scenario_id, AMX_HOST)
    with monkeypatch.context() as planted:
        planted.setattr(module, function, faulty(getattr(module, function)))
        trace = trace_of(scenario, AMX_HOST)
    assert first_wrong(scenario, trace) == shown_by


@each_fault
def test_without_the_fault_the_judge_sees_nothing(name):
    scenario = catalog.scenario(FAULTS[name][1], AMX_HOST)
    assert agrees_along(scenario, ModelRun(AMX_HOST), trace_of(scenario, AMX_HOST))
