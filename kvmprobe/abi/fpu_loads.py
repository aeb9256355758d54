"""Which calls load the guest's FPU state into the processor.  Layer: abi, pure.

KVM_RUN always does.  KVM_GET_MSRS, KVM_SET_MSRS, KVM_GET_ONE_REG and KVM_SET_ONE_REG do for MSRs
that are part of XSTATE, on kernels that have them.

:see: arch/x86/kvm/x86.c: __msr_io, kvm_get_set_one_reg, is_xstate_managed_msr
"""

from __future__ import annotations

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr

MSR_LISTS = (ioctls.GET_MSRS.number, ioctls.SET_MSRS.number)
ONE_REGISTERS = (ioctls.GET_ONE_REG.number, ioctls.SET_ONE_REG.number)
# IA32_{U,S}_CET, IA32_PL[0-3]_SSP and IA32_INTERRUPT_SSP_TABLE_ADDR: more than any kernel has
# in XSTATE.  A call that is gated without need costs less than a host.
LOADING_MSRS = (Msr.IA32_U_CET, Msr.IA32_S_CET, *range(Msr.IA32_PL0_SSP, Msr.IA32_PL3_SSP + 2))
