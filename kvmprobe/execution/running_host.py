"""The running host as the model sees it.  Public: the names in ``__all__``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.execution.driver import Driver
from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.probing import examine

if TYPE_CHECKING:
    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile

__all__ = ["RunningHost", "running_host"]


@dataclass(frozen=True, slots=True)
class RunningHost:
    """The result of probing this CPU, kernel and KVM.

    :ivar profile: for :meth:`kvmprobe.model.Machine.fresh`; its behaviours are those found present
    :ivar undetermined: behaviours that the probes could neither confirm nor exclude: the profile
        does not have them, the kernel may
    """

    profile: HostProfile
    undetermined: Behaviours


def running_host(device: str = "/dev/kvm") -> RunningHost:
    """Probe the running host, as ``kvmprobe probe`` does, within a fraction of a second.

    The probes run in a separate process.  They neither use nor change this process's guest
    permission, and no probe loads guest state that could panic the host.

    :param device: path of the KVM device
    :raises Unavailable: ``no_kvm``, ``no_kvm_permission``, ``old_kvm``, ``old_kernel`` or
        ``no_xsave``
    :see: Documentation/arch/x86/xstate.rst; Documentation/virt/kvm/api.rst
    """
    place = ThisHost(device)
    with place.open() as link:
        found = examine(Driver(link, place.timing))
    return RunningHost(found.profile, found.undetermined)
