"""KVM for Python: /dev/kvm and arch_prctl(2) through cffi.  Layer: bindings.

The names in ``__all__`` are public and stable within a major version.  Each method is named after
its ioctl, takes and returns Python values, and raises

* :class:`KernelCallError` if the kernel returns an error; its ``meaning`` explains the errno;
* :class:`LayoutError` if an argument does not fit the kernel's structure; no call is made then;
* :class:`Unavailable` if there is no usable /dev/kvm.

Structures are dataclasses with the kernel's field names.  CPUID tables and XSAVE images are bytes;
:mod:`kvmprobe.xstate` decodes and encodes them.

Not supported: GSI routing, MSIs, the PIT, registers of the PIC and the I/O APIC, guest_memfd,
Hyper-V, Xen, SEV, TDX, device descriptors, signal masks.

Descriptors are context managers.  Calls release the GIL, so that each vCPU can run in a thread of
its own; another thread stops it with :meth:`VcpuFd.stop_runs`.

**Hazard.**  If XSTATE_BV & IA32_XFD is not 0 in a guest's state, the next load of that state panics
a host without the fix.  :meth:`VcpuFd.run` loads it; call :meth:`VcpuFd.load_hazard` first.

A guest in real mode that adds two numbers:

>>> code = bytes.fromhex("baf803 00d8 0430 ee f4")  # mov dx,0x3f8; add al,bl; add al,48; out; hlt
>>> with Kvm.open() as kvm, kvm.create_vm() as vm:
...     memory = vm.map_memory(slot=0, guest_address=0x1000, content=code)
...     with vm.create_vcpu(0) as vcpu:
...         sregs = vcpu.get_sregs()
...         sregs.cs.base = sregs.cs.selector = 0
...         vcpu.set_sregs(sregs)
...         vcpu.set_regs(Regs(rip=0x1000, rax=2, rbx=2))
...         print(vcpu.run())
...         print(vcpu.run())
IoExit(direction=<IoDirection.OUT: 1>, port=1016, size=1, count=1, data=b'4')
HltExit()
"""

from kvmprobe.abi.capabilities import Capability
from kvmprobe.abi.ioctls import ClockFlag, DebugControl, MemoryFlag
from kvmprobe.abi.numbers import EventFlag, InternalError, KvmExit, Msr
from kvmprobe.bindings.events import (
    ExceptionEvent,
    InterruptEvent,
    MpState,
    NmiEvent,
    SmiEvent,
    TripleFaultEvent,
    VcpuEvents,
)
from kvmprobe.bindings.exits import (
    DebugExit,
    Exit,
    FailEntryExit,
    HltExit,
    HypercallExit,
    InternalErrorExit,
    IoDirection,
    IoExit,
    MemoryFaultExit,
    MmioDirection,
    MmioExit,
    MsrReadExit,
    MsrWriteExit,
    OtherExit,
    ShutdownExit,
    SystemEventExit,
    UnknownExit,
)
from kvmprobe.bindings.kvm import Kvm
from kvmprobe.bindings.permission import (
    guest_permission,
    host_permission,
    request_guest_permission,
    request_host_permission,
    supported_features,
)
from kvmprobe.bindings.registers import (
    DebugRegs,
    DescriptorTable,
    Fpu,
    Regs,
    Segment,
    Sregs,
    Sregs2,
    Translation,
)
from kvmprobe.bindings.vcpu import RunMode, VcpuFd
from kvmprobe.bindings.vm import VmFd
from kvmprobe.bindings.vm_devices import Attach, Clock, IoSpace
from kvmprobe.errors import KernelCallError, LayoutError, Unavailable

__all__ = [
    "Attach",
    "Capability",
    "Clock",
    "ClockFlag",
    "DebugControl",
    "DebugExit",
    "DebugRegs",
    "DescriptorTable",
    "EventFlag",
    "ExceptionEvent",
    "Exit",
    "FailEntryExit",
    "Fpu",
    "HltExit",
    "HypercallExit",
    "InternalError",
    "InternalErrorExit",
    "InterruptEvent",
    "IoDirection",
    "IoExit",
    "IoSpace",
    "KernelCallError",
    "Kvm",
    "KvmExit",
    "LayoutError",
    "MemoryFaultExit",
    "MemoryFlag",
    "MmioDirection",
    "MmioExit",
    "MpState",
    "Msr",
    "MsrReadExit",
    "MsrWriteExit",
    "NmiEvent",
    "OtherExit",
    "Regs",
    "RunMode",
    "Segment",
    "ShutdownExit",
    "SmiEvent",
    "Sregs",
    "Sregs2",
    "SystemEventExit",
    "Translation",
    "TripleFaultEvent",
    "Unavailable",
    "UnknownExit",
    "VcpuEvents",
    "VcpuFd",
    "VmFd",
    "guest_permission",
    "host_permission",
    "request_guest_permission",
    "request_host_permission",
    "supported_features",
]
