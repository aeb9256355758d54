"""The guest loads and stores x87, SSE, AVX and AVX-512 registers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import PayloadOp, command
from kvmprobe.model import guest_vector
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.ops.lifecycle import VCPU
from kvmprobe.xstate.patterns import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.model.guest import Guest
    from kvmprobe.model.host import HostProfile

_PI = struct.pack("<QH", 0xC90F_DAA2_2168_C235, 0x4000)
_LOADS = {
    VectorFile.XMM: PayloadOp.LOAD_XMM,
    VectorFile.YMM: PayloadOp.LOAD_YMM,
    VectorFile.ZMM: PayloadOp.LOAD_ZMM,
    VectorFile.K: PayloadOp.LOAD_K,
}
_STORES = {
    VectorFile.XMM: PayloadOp.STORE_XMM,
    VectorFile.YMM: PayloadOp.STORE_YMM,
    VectorFile.ZMM: PayloadOp.STORE_ZMM,
    VectorFile.K: PayloadOp.STORE_K,
}


def pattern(file: VectorFile) -> bytes:
    """Return registers that make the components' patterns."""
    contents = {int(nr): counted(nr, width * count) for nr, width, count in file.parts}
    return guest_vector.joined(file, contents)


@op("guest-load", "KVM_RUN(load vectors)", "SDM vol.2 MOVUPS", "SDM vol.2 KMOVW/KMOVB/KMOVQ/KMOVD")
@dataclass(frozen=True, slots=True)
class GuestLoad(GuestOp):
    """Load the pattern into every register of a file."""

    file: VectorFile
    vcpu: str = VCPU
    rule = guest_vector.LOAD

    def __post_init__(self) -> None:
        """Accept the file's number."""
        object.__setattr__(self, "file", VectorFile(self.file))

    @property
    def mnemonic(self) -> str:
        """The file."""
        return f"load {self.file.name}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Put the registers into the data area."""
        return command(_LOADS[self.file], data=pattern(self.file))

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Load them."""
        return partial(guest_vector.load, file=self.file, registers=pattern(self.file))


@op("guest-store", "KVM_RUN(store vectors)", "SDM vol.2 MOVUPS")
@dataclass(frozen=True, slots=True)
class GuestStore(GuestOp):
    """Store every register of a file."""

    file: VectorFile
    vcpu: str = VCPU
    rule = guest_vector.STORE

    def __post_init__(self) -> None:
        """Accept the file's number."""
        object.__setattr__(self, "file", VectorFile(self.file))

    @property
    def mnemonic(self) -> str:
        """The file."""
        return f"store {self.file.name}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Have the registers stored."""
        return command(_STORES[self.file])

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Store them."""
        return partial(guest_vector.store, file=self.file)

    def size_of_data(self, host: HostProfile) -> int:  # noqa: ARG002
        """Return the bytes of all registers."""
        return self.file.size


@op("guest-fldcw", "KVM_RUN(FLDCW)", "SDM vol.2 FLDCW")
@dataclass(frozen=True, slots=True)
class GuestFldcw(GuestOp):
    """Load the x87 control word."""

    fcw: int
    vcpu: str = VCPU
    rule = guest_vector.FLDCW

    @property
    def mnemonic(self) -> str:
        """The value."""
        return f"FLDCW {self.fcw:#x}"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Put the value into the data area."""
        return command(PayloadOp.FLDCW, data=self.fcw.to_bytes(2, "little"))

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Load it."""
        return partial(guest_vector.fldcw, value=self.fcw)


@op("guest-fld", "KVM_RUN(FLD)", "SDM vol.2 FLD")
@dataclass(frozen=True, slots=True)
class GuestFld(GuestOp):
    """Push pi onto the x87 stack."""

    vcpu: str = VCPU
    rule = guest_vector.FLD

    @property
    def mnemonic(self) -> str:
        """Its name."""
        return "FLD m80"

    def command(self, host: HostProfile) -> bytes:  # noqa: ARG002
        """Put the value into the data area."""
        return command(PayloadOp.FLD, data=_PI)

    def instruction(self, host: HostProfile) -> Callable[[Guest], Guest]:  # noqa: ARG002
        """Push it."""
        return partial(guest_vector.fld, value=_PI)
