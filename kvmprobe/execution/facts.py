"""Facts about this CPU, kernel and KVM, as plain data.  Runs in a child of the worker.

Gathering them requests permissions and creates vCPUs, so no scenario can run in this process.
"""

from __future__ import annotations

import os
from typing import Any

from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.numbers import KVM_CPUID_FLAG_SIGNIFICANT_INDEX, ArchPrctlCode, KvmCap
from kvmprobe.bindings import host_cpu
from kvmprobe.bindings.gateway import arch_prctl, get_xcomp
from kvmprobe.bindings.kvm import Kvm
from kvmprobe.errors import KernelCallError, Unavailable
from kvmprobe.execution import guest_trial
from kvmprobe.execution.packed import pack
from kvmprobe.host import environment
from kvmprobe.host.files import HostFiles
from kvmprobe.xstate.cpuid import (
    AMX_TILE_BIT,
    LEAF_EXTENDED_FEATURES,
    LEAF_TILE,
    LEAF_TMUL,
    LEAF_XSTATE,
    XFD_BIT,
    XSAVES_BIT,
)
from kvmprobe.xstate.features import DYNAMIC, XFeature

SYSCTLS = (
    "kernel/tainted",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/panic_on_warn",
    "kernel/hung_task_panic",
    "kernel/softlockup_panic",
    "kernel/hardlockup_panic",
    "kernel/sysrq",
)
_MODULES, _USERFAULTFD = "/sys/module", "/proc/sys/vm/unprivileged_userfaultfd"
_VENDOR_MODULES = ("kvm_intel", "kvm_amd", "kvm_pvm")


def gather(device: str) -> dict[str, Any]:
    """Return all facts, ready for JSON.

    If KVM is not usable, ``kvm`` is None and ``kvm_unavailable`` has the reason.
    """
    uname, files = os.uname(), HostFiles()
    # Not within pinned().
    usable = len(os.sched_getaffinity(0))
    with host_cpu.pinned():
        facts: dict[str, Any] = {
            "kernel": {
                "release": uname.release,
                "version": uname.version,
                "machine": uname.machine,
            },
            "cpu": _cpu(),
            "cpus": usable,
            "xcomp": _xcomp(),
            "userfaultfd": _userfaultfd(files),
            "environment": environment.gather(uname.release),
            "settings": {name: files.number(f"/proc/sys/{name}") for name in SYSCTLS},
            "kvm": None,
        }
        try:
            with Kvm.open(device) as kvm:
                facts["kvm"] = _kvm(kvm, files)
        except Unavailable as reason:
            facts["kvm_unavailable"] = {"code": reason.code, "message": str(reason)}
    return facts


def _cpu() -> dict[str, Any]:
    xstate = host_cpu.leaf(LEAF_XSTATE, 0)
    user = xstate.eax | xstate.edx << 32
    features = host_cpu.leaf(LEAF_XSTATE, 1)
    return {
        "vendor": host_cpu.vendor(),
        "brand": host_cpu.brand(),
        "signature": host_cpu.signature(),
        "xcr0": host_cpu.xcr0(),
        "xcr0_supported": user,
        "xss_supported": features.ecx | features.edx << 32,
        "mxcsr_mask": host_cpu.mxcsr_mask(),
        "xsaves": features.eax >> XSAVES_BIT & 1,
        "xfd": features.eax >> XFD_BIT & 1,
        "amx_tile": host_cpu.leaf(LEAF_EXTENDED_FEATURES, 0).edx >> AMX_TILE_BIT & 1,
        "palettes": host_cpu.leaf(LEAF_TILE, 0).eax,
        "leaves": _leaves(user | features.ecx),
        "components": {
            nr: _component(nr) for nr in range(2, 63) if (user | features.ecx) >> nr & 1
        },
    }


def _leaves(components: int) -> list[tuple[int, ...]]:
    """Return the CPUID leaves that the model needs, each as the fields of a CpuidEntry."""
    numbers = [nr for nr in range(2, 63) if components >> nr & 1]
    wanted = [
        (0x1, 0, 0),
        (LEAF_EXTENDED_FEATURES, 0, KVM_CPUID_FLAG_SIGNIFICANT_INDEX),
        *((LEAF_XSTATE, nr, KVM_CPUID_FLAG_SIGNIFICANT_INDEX) for nr in (0, 1, *numbers)),
        *((LEAF_TILE, nr, KVM_CPUID_FLAG_SIGNIFICANT_INDEX) for nr in (0, 1)),
        *((LEAF_TMUL, nr, KVM_CPUID_FLAG_SIGNIFICANT_INDEX) for nr in (0, 1)),
    ]
    return [(leaf, nr, flags, *host_cpu.leaf(leaf, nr)) for leaf, nr, flags in wanted]


def _component(nr: int) -> dict[str, int]:
    registers = host_cpu.leaf(LEAF_XSTATE, nr)
    return {
        "size": registers.eax,
        "offset": registers.ebx,
        "supervisor": registers.ecx & 1,
        "aligned": registers.ecx >> 1 & 1,
        "xfd": registers.ecx >> 2 & 1,
    }


def _xcomp() -> dict[str, int]:
    found: dict[str, int] = {}
    for code in ArchPrctlCode:
        if code.name.startswith("GET"):
            try:
                found[code.name] = get_xcomp(code)
            except KernelCallError as error:
                found[code.name] = -(error.errno or 0)
    found["REQ_XCOMP_PERM(19)"] = arch_prctl(ArchPrctlCode.REQ_XCOMP_PERM, XFeature.APX)
    return found


def _kvm(kvm: Kvm, files: HostFiles) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "vendor_modules": [name for name in _VENDOR_MODULES if files.exists(f"{_MODULES}/{name}")],
        "parameters": {
            name: files.texts(f"{_MODULES}/{name}/parameters") for name in ("kvm", *_VENDOR_MODULES)
        },
        "cap_xsave": kvm.check_extension(KvmCap.XSAVE),
        "cap_xcrs": kvm.check_extension(KvmCap.XCRS),
        "cap_xsave2": kvm.check_extension(KvmCap.XSAVE2),
        "cap_nested_state": kvm.check_extension(Capability.NESTED_STATE),
        "msrs": list(kvm.msr_indices()),
        "supported_cpuid": pack(kvm.supported_cpuid()),
    }
    try:
        facts["xcomp_guest_supp"] = kvm.xcomp_guest_supp()
    except KernelCallError as error:
        facts["xcomp_guest_supp_error"] = str(error)
    number = DYNAMIC.bit_length() - 1
    facts["permission_request"] = arch_prctl(ArchPrctlCode.REQ_XCOMP_GUEST_PERM, number)
    facts["cap_xsave2_permitted"] = kvm.check_extension(KvmCap.XSAVE2)
    facts["supported_cpuid_permitted"] = pack(kvm.supported_cpuid())
    facts["guest_code"] = {
        "real_mode": guest_trial.real_mode(kvm),
        "long_mode": guest_trial.long_mode(kvm),
    }
    return facts


def _userfaultfd(files: HostFiles) -> str:
    """Return why user space cannot handle page faults of the kernel; empty if it can."""
    if os.geteuid() == 0:
        return "" if files.exists(_USERFAULTFD) else "not in the kernel"
    return "not root"
