"""The guest executes instructions whose encoding is nearly valid."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.abi.ioctls import Descriptor
from kvmprobe.abi.payload import PayloadOp
from kvmprobe.model import guest_encoding
from kvmprobe.scenarios.calls import VCPU
from kvmprobe.scenarios.op_fields import Name
from kvmprobe.scenarios.ops._base import op
from kvmprobe.scenarios.ops.guest import Execution, FixedGuestOp

if TYPE_CHECKING:
    from kvmprobe.model.rule import Rule
    from kvmprobe.scenarios.ops.guest import Instruction


class Encoding(Enum):
    """An encoding, by what is wrong with it; the operand is in memory at RDI, if there is one.

    :see: SDM vol.2 §2.3.2 to §2.3.4 (prefixes before VEX), §2.3.6.1 (VEX.mmmmm), §2.7.11 (EVEX),
        "AMX Instruction Exception Classes"; of others the instruction's own page
    """

    LOCK_FNINIT = "f0 db e3"
    LOCK_EMMS = "f0 0f 77"
    LOCK_LDMXCSR = "f0 0f ae 17"
    LOCK_FXSAVE64 = "f0 48 0f ae 07"
    LOCK_XSAVE64 = "f0 48 0f ae 27"
    LOCK_XRSTOR64 = "f0 48 0f ae 2f"
    LOCK_XGETBV = "f0 0f 01 d0"
    LOCK_RDPKRU = "f0 0f 01 ee"
    LOCK_VMOVUPS = "f0 c5 fc 10 07"
    OPERAND_SIZE_BEFORE_VEX = "66 c5 fc 10 07"
    REX_BEFORE_VEX = "48 c5 fc 10 07"
    VEX_MAP_0 = "c4 e0 7c 10 07"
    VZEROUPPER_VVVV = "c5 f0 77"
    VLDMXCSR_VVVV = "c5 f0 ae 17"
    VLDMXCSR_L = "c5 fc ae 17"
    KMOVQ_VVVV = "c4 e1 f0 90 07"
    KMOVQ_L = "c4 e1 fc 90 07"
    EVEX_LL_3 = "62 f1 7c 68 10 07"
    EVEX_Z_WITHOUT_MASK = "62 f1 7c c8 10 07"
    LOCK_TILERELEASE = "f0 c4 e2 78 49 c0"
    LDTILECFG_VVVV = "c4 e2 70 49 07"
    TILEZERO_TMM8 = "c4 62 7b 49 c0"
    TILEZERO_L = "c4 e2 7f 49 c0"
    TILELOADD_WITHOUT_SIB = "c4 e2 7b 4b 07"
    TDPBSSD_SAME_TILE = "c4 e2 6b 5e c0"
    SIXTEEN_BYTES = "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66 90"
    MOVAPS_MISALIGNED = "0f 28 47 01"
    FXSAVE64_MISALIGNED = "48 0f ae 47 01"


_MODELS: dict[Encoding, tuple[Instruction, Rule]] = dict.fromkeys(
    Encoding, (guest_encoding.undefined, guest_encoding.UNDEFINED)
) | {
    Encoding.SIXTEEN_BYTES: (guest_encoding.too_long, guest_encoding.TOO_LONG),
    Encoding.MOVAPS_MISALIGNED: (guest_encoding.misaligned, guest_encoding.MISALIGNED),
    Encoding.FXSAVE64_MISALIGNED: (guest_encoding.misaligned, guest_encoding.MISALIGNED),
}


@op(
    "guest-misencoded",
    "KVM_RUN",
    guest_encoding.UNDEFINED,
    guest_encoding.TOO_LONG,
    guest_encoding.MISALIGNED,
    on=Descriptor.VCPU,
    operand="nearly valid",
)
class GuestMisencoded(FixedGuestOp):
    """Execute an instruction that is nearly valid."""

    encoding: Encoding
    vcpu: Name = VCPU

    @property
    def mnemonic(self) -> str:
        return f"{self.encoding.value} ({self.encoding.name})"

    def executes_as(self) -> Execution:
        model, _ = _MODELS[self.encoding]
        return Execution(PayloadOp.GIVEN, model, instruction=bytes.fromhex(self.encoding.value))

    @property
    def rule(self) -> Rule:
        return _MODELS[self.encoding][1]
