"""Every call on a descriptor that is closed."""

from __future__ import annotations

import errno
import inspect
import mmap
import os

import pytest

from kvmprobe.abi.numbers import Msr
from kvmprobe.bindings import (
    Capability,
    Clock,
    DebugControl,
    DebugRegs,
    Fpu,
    IoSpace,
    KernelCallError,
    Kvm,
    MpState,
    Regs,
    RunMode,
    Sregs,
    Sregs2,
    VcpuEvents,
    VcpuFd,
    VmFd,
)

ONE_REG = 0x2030_0002_0000_0277
ATTRIBUTES = {
    "has_device_attr": (0, 0),
    "get_device_attr": (0, 0),
    "set_device_attr": (0, 0, bytes(8)),
}
CALLS = {
    Kvm: {
        "create_vm": (),
        "vcpu_mmap_size": (),
        "check_extension": (Capability.XSAVE,),
        "supported_cpuid": (),
        "emulated_cpuid": (),
        "msr_indices": (),
        "feature_msr_indices": (),
        "feature_msrs": ((0x10A,),),
        "xcomp_guest_supp": (),
        **ATTRIBUTES,
    },
    VmFd: {
        "create_vcpu": (0,),
        "check_extension": (Capability.XSAVE2,),
        "xsave_size": (),
        "nested_size": (),
        "enable_cap": (Capability.X86_USER_SPACE_MSR, 1),
        "map_memory": (0, 0, b"\xf4"),
        "set_user_memory_region": (0, 0, mmap.mmap(-1, mmap.PAGESIZE)),
        "delete_memory_region": (0,),
        "get_dirty_log": (0,),
        "create_irqchip": (),
        "irq_line": (1, 1),
        "irqfd": (0, 1),
        "ioeventfd": (0, IoSpace.PIO, 1, 1),
        "set_tss_addr": (0xFFFB_D000,),
        "set_identity_map_addr": (0,),
        "get_clock": (),
        "set_clock": (Clock(),),
    },
    VcpuFd: {
        "run": (RunMode.REAL,),
        "get_regs": (),
        "set_regs": (Regs(),),
        "get_sregs": (),
        "set_sregs": (Sregs(),),
        "get_sregs2": (),
        "set_sregs2": (Sregs2(),),
        "get_debugregs": (),
        "set_debugregs": (DebugRegs(),),
        "get_one_reg": (ONE_REG,),
        "set_one_reg": (ONE_REG, 0),
        "get_reg_list": (),
        "translate": (0,),
        "set_cpuid2": (bytes(8),),
        "get_cpuid2": (),
        "set_msrs": ({Msr.IA32_XFD: 0},),
        "get_msrs": ((Msr.IA32_XFD,),),
        "get_tsc_khz": (),
        "set_tsc_khz": (0,),
        "get_xsave": (),
        "get_xsave2": (),
        "set_xsave": (bytes(4096),),
        "load_hazard": (),
        "get_xcrs": (),
        "set_xcrs": ({0: 1},),
        "get_xcr0": (),
        "set_xcr0": (1,),
        "get_fpu": (),
        "set_fpu": (Fpu(),),
        "get_vcpu_events": (),
        "set_vcpu_events": (VcpuEvents(),),
        "get_mp_state": (),
        "set_mp_state": (MpState.RUNNABLE,),
        "get_lapic": (),
        "set_lapic": (bytes(1024),),
        "interrupt": (32,),
        "nmi": (),
        "set_guest_debug": (DebugControl.NONE,),
        "get_nested_state": (),
        "set_nested_state": (bytes(128),),
        "enable_cap": (Capability.HYPERV_SYNIC,),
        **ATTRIBUTES,
    },
}
WITHOUT_A_CALL = {"open", "close", "fileno", "answer_read", "refuse_msr", "stop_runs"}
EACH = [(cls, name) for cls in CALLS for name in CALLS[cls]]


@pytest.fixture
def closed(kvm):
    """One closed descriptor of each class."""
    with kvm.create_vm() as vm, vm.create_vcpu(0) as vcpu:
        pass
    with Kvm.open() as opened:
        pass
    return {Kvm: opened, VmFd: vm, VcpuFd: vcpu}


@pytest.mark.parametrize(("cls", "name"), EACH, ids=lambda v: getattr(v, "__name__", v))
def test_every_call_is_ebadf(closed, cls, name):
    with pytest.raises(KernelCallError, match="the descriptor is closed") as caught:
        getattr(closed[cls], name)(*CALLS[cls][name])
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_no_call_is_left_out(cls):
    public = {n for n, _ in inspect.getmembers(cls, inspect.isroutine) if not n.startswith("_")}
    assert public - WITHOUT_A_CALL == CALLS[cls].keys()


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_closing_twice_closes_no_other_descriptor(closed, cls):
    other = os.open("/dev/null", os.O_RDONLY)
    closed[cls].close()
    os.close(other)  # fails if it is closed


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_a_closed_descriptor_says_so(closed, cls):
    assert (closed[cls].closed, closed[cls].fileno()) == (True, -1)
