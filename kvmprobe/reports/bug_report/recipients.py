"""The maintainers and lists of the parts of the kernel, from MAINTAINERS.

Maintainers change: check the recipients with ``scripts/get_maintainer.pl`` before sending.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SECURITY = "security@kernel.org"
STABLE = "stable@vger.kernel.org"


class Subsystem(Enum):
    """A part of the kernel; its value is the prefix of its subject lines."""

    X86_FPU = "x86/fpu"
    KVM_X86 = "KVM: x86"
    KVM = "KVM"


@dataclass(frozen=True, slots=True)
class Contact:
    """Who gets reports: people, and public lists."""

    people: tuple[str, ...]
    lists: tuple[str, ...]


_PAOLO = "Paolo Bonzini <pbonzini@redhat.com>"
_CONTACTS = {
    # X86 ARCHITECTURE (32-BIT AND 64-BIT)
    Subsystem.X86_FPU: Contact(
        (
            "Thomas Gleixner <tglx@kernel.org>",
            "Ingo Molnar <mingo@redhat.com>",
            "Borislav Petkov <bp@alien8.de>",
            "Dave Hansen <dave.hansen@linux.intel.com>",
        ),
        ("x86@kernel.org", "linux-kernel@vger.kernel.org"),
    ),
    # KERNEL VIRTUAL MACHINE FOR X86 (KVM/x86)
    Subsystem.KVM_X86: Contact(
        ("Sean Christopherson <seanjc@google.com>", _PAOLO), ("kvm@vger.kernel.org",)
    ),
    # KERNEL VIRTUAL MACHINE (KVM)
    Subsystem.KVM: Contact((_PAOLO,), ("kvm@vger.kernel.org",)),
}
_FOLDERS = (
    ("arch/x86/kvm/", Subsystem.KVM_X86),
    ("virt/kvm/", Subsystem.KVM),
    ("arch/x86/", Subsystem.X86_FPU),
)


def subsystem_of(path: str) -> Subsystem:
    """Return the subsystem of a file; KVM for x86 if it is none of those here."""
    found = (subsystem for folder, subsystem in _FOLDERS if path.startswith(folder))
    return next(found, Subsystem.KVM_X86)


def contact_for(paths: Sequence[str]) -> Contact:
    """Return everyone who gets a report about these files.

    The maintainers of KVM for x86 always get it, because its users see the failure.
    """
    named = [subsystem_of(path) for path in paths]
    contacts = [_CONTACTS[s] for s in dict.fromkeys((*named, Subsystem.KVM_X86))]
    people = dict.fromkeys(person for contact in contacts for person in contact.people)
    lists = dict.fromkeys(name for contact in contacts for name in contact.lists)
    return Contact(tuple(people), tuple(lists))
