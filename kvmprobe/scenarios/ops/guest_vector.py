"""The guest loads and stores x87, SSE, AVX and AVX-512 registers."""

from __future__ import annotations

import struct
from functools import partial

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model import guest_vector, guest_x87
from kvmprobe.model.guest_vector import VectorFile
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.op_fields import U16, Name
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp
from kvmprobe.xstate.patterns import counted

_ON = Descriptor.VCPU
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


@op("guest-load", "KVM_RUN", guest_vector.LOAD, on=_ON, operand="load vectors")
class GuestLoad(FixedGuestOp):
    """Load the pattern into every register of a file."""

    file: VectorFile
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"load {self.file.name}"

    def executes_as(self) -> Execution:
        content = pattern(self.file)
        model = partial(guest_vector.load, file=self.file, registers=content)
        return Execution(_LOADS[self.file], model, data=content)


@op("guest-store", "KVM_RUN", guest_vector.STORE, on=_ON, operand="store vectors")
class GuestStore(FixedGuestOp):
    """Store every register of a file."""

    file: VectorFile
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"store {self.file.name}"

    def executes_as(self) -> Execution:
        model = partial(guest_vector.store, file=self.file)
        return Execution(_STORES[self.file], model, data_size=self.file.size)


@op("guest-fldcw", "KVM_RUN", guest_x87.FLDCW, on=_ON, operand="FLDCW")
class GuestFldcw(FixedGuestOp):
    """Load the x87 control word."""

    fcw: U16
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"FLDCW {self.fcw:#x}"

    def executes_as(self) -> Execution:
        model = partial(guest_x87.fldcw, value=self.fcw)
        return Execution(PayloadOp.FLDCW, model, data=self.fcw.to_bytes(2, "little"))


@op("guest-fld", "KVM_RUN", guest_x87.FLD, on=_ON, operand="FLD")
class GuestFld(FixedGuestOp):
    """Push pi onto the x87 stack."""

    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return "FLD m80"

    def executes_as(self) -> Execution:
        return Execution(PayloadOp.FLD, partial(guest_x87.fld, value=_PI), data=_PI)
