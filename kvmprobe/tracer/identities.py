"""Which object a descriptor is: by the calls that made it, and by what /proc/PID/fd shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.recordings.lines import ObjectKind, ObjectLine

if TYPE_CHECKING:
    from collections.abc import Callable

_VCPU = re.compile(r"anon_inode:kvm-vcpu:(\d+)")
_VM = "anon_inode:kvm-vm"
_KVM = re.compile(r"/(.*/)?kvm")


@dataclass(slots=True)
class _Found:
    """An object that a descriptor refers to; declared when it is first used."""

    kind: ObjectKind
    of: str | None = None
    number: int | None = None
    line: ObjectLine | None = None


class Identities:
    """The objects of all traced processes."""

    def __init__(self, declare: Callable[[ObjectLine], None]) -> None:
        """Declare each object by a line before its first use."""
        self._declare = declare
        self._found: dict[tuple[int, int], _Found] = {}
        self._counts = dict.fromkeys(ObjectKind, 0)

    def made_vm(self, pid: int, fd: int, by: str) -> None:
        """Take a descriptor for a new VM's."""
        self._found[pid, fd] = _Found(ObjectKind.VM, by)

    def made_vcpu(self, pid: int, fd: int, by: str, number: int) -> None:
        """Take a descriptor for a new vCPU's."""
        self._found[pid, fd] = _Found(ObjectKind.VCPU, by, number)

    def inherit(self, parent: int, child: int) -> None:
        """Give a process its parent's descriptors."""
        of_parent = {fd: found for (pid, fd), found in self._found.items() if pid == parent}
        self._found |= {(child, fd): found for fd, found in of_parent.items()}

    def forget(self, pid: int) -> None:
        """Forget the descriptors of a process that has ended or has another program.

        KVM's are close-on-exec.
        """
        self._found = {key: found for key, found in self._found.items() if key[0] != pid}

    def of(self, pid: int, fd: int, link: str) -> str:
        """Return the object of a descriptor; a new one if nothing says which it is.

        :param link: what /proc/PID/fd shows; empty if it could not be read
        """
        found = self._found.get((pid, fd))
        kind, number = _described(link)
        if found is None or (link and not _fits(found, kind, number)):
            found = self._elsewhere(pid, kind, number) or _Found(kind, number=number)
            self._found[pid, fd] = found
        if found.line is None:
            name = f"{found.kind.value}{self._counts[found.kind]}"
            self._counts[found.kind] += 1
            found.line = ObjectLine(name, found.kind, link[:256], found.of, found.number)
            self._declare(found.line)
        return found.line.id

    def _elsewhere(self, pid: int, kind: ObjectKind, number: int | None) -> _Found | None:
        """Return the only object that a duplicated or passed descriptor can be."""
        for of_process in (True, False):
            same = {
                id(found): found
                for (owner, _), found in self._found.items()
                if _fits(found, kind, number) and (owner == pid or not of_process)
            }
            if len(same) == 1:
                return next(iter(same.values()))
        return None


def _fits(found: _Found, kind: ObjectKind, number: int | None) -> bool:
    return found.kind is kind and (kind is not ObjectKind.VCPU or found.number == number)


def _described(link: str) -> tuple[ObjectKind, int | None]:
    if match := _VCPU.fullmatch(link):
        return ObjectKind.VCPU, int(match[1])
    if link == _VM:
        return ObjectKind.VM, None
    return ObjectKind.KVM if _KVM.fullmatch(link) else ObjectKind.DEVICE, None
