"""Rules: what a correct kernel does, and where that is written.  Layer: model, pure.

Each function of the model has a constant :class:`Rule` beside it, named like the function.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class KernelFile(StrEnum):
    """Files that rules cite, by their path in the kernel's source tree.

    Since Linux 7.3 parts of ``kvm/x86.c`` are in ``kvm/msrs.c`` and ``kvm/regs.c``.
    """

    FPU_CORE = "arch/x86/kernel/fpu/core.c"
    FPU_XSTATE = "arch/x86/kernel/fpu/xstate.c"
    CPU_AMD = "arch/x86/kernel/cpu/amd.c"
    X86_PROCESS = "arch/x86/kernel/process.c"
    X86_SIGNAL = "arch/x86/kernel/signal.c"
    KVM_CPUID = "arch/x86/kvm/cpuid.c"
    KVM_LAPIC = "arch/x86/kvm/lapic.c"
    KVM_VMX_NESTED = "arch/x86/kvm/vmx/nested.c"
    KVM_VMX = "arch/x86/kvm/vmx/vmx.c"
    KVM_X86 = "arch/x86/kvm/x86.c"
    KVM_MAIN = "virt/kvm/kvm_main.c"
    EXEC = "fs/exec.c"
    FILE = "fs/file.c"
    OPEN = "fs/open.c"
    FORK = "kernel/fork.c"
    SIGNAL = "kernel/signal.c"
    SYS = "kernel/sys.c"


@dataclass(frozen=True, slots=True)
class KernelSource:
    """A function in the kernel's source."""

    file: KernelFile
    function: str

    def __str__(self) -> str:
        """Return the path and the function, as kernel developers write them."""
        return f"{self.file}: {self.function}"


@dataclass(frozen=True, slots=True)
class DocumentSource:
    """A section of a document in the kernel's source tree.

    :ivar path: from the top of the tree: ``Documentation/virt/kvm/api.rst``
    """

    path: str
    section: str

    def __str__(self) -> str:
        """Return the path and the section."""
        return f"{self.path}: {self.section}"


@dataclass(frozen=True, slots=True)
class ManualSource:
    """A section, a table or an instruction of the Intel SDM.

    :ivar section: ``13.14``, ``table 10-1``, or in volume 2 the instruction
    :ivar title: of the section or table
    """

    volume: int
    section: str
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse a source without a section."""
        if not self.section:
            raise ValueError("a source without a section")

    def __str__(self) -> str:
        """Return volume, section and title: section numbers change between editions."""
        sign = "§" if self.section[0].isdigit() else ""
        title = f' "{self.title}"' if self.title else ""
        return f"SDM vol.{self.volume} {sign}{self.section}{title}"


@dataclass(frozen=True, slots=True)
class AmdManualSource:
    """A section or an instruction of the AMD64 Architecture Programmer's Manual.

    :ivar section: ``15.5.1``, or in volumes 3 to 5 the instruction
    :ivar title: of the section
    """

    volume: int
    section: str
    title: str = ""

    def __str__(self) -> str:
        """Return volume, section and title: section numbers change between editions."""
        title = f' "{self.title}"' if self.title else ""
        return f"APM vol.{self.volume} {self.section}{title}"


Source = KernelSource | DocumentSource | ManualSource | AmdManualSource


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the model.

    :ivar statement: what a correct kernel does
    :ivar invariants: those of the kernel contract that it is part of, as ``INV-25``
    :ivar sources: where the rule comes from, the most telling one first
    :ivar sections: of the kernel contract, by number
    """

    statement: str
    invariants: tuple[str, ...]
    sources: tuple[Source, ...]
    sections: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a rule without a source."""
        if not self.sources:
            raise ValueError("a rule without a source")

    def __str__(self) -> str:
        """Return the statement with its first source, without kvmprobe's own numbers."""
        return f"{self.statement}: {self.sources[0]}"

    @property
    def kernel_files(self) -> tuple[str, ...]:
        """Paths of the kernel files that it cites."""
        return tuple(
            dict.fromkeys(str(s.file) for s in self.sources if isinstance(s, KernelSource))
        )
