"""The operands of calls, in words that a kernel developer knows.

The names of CPUID tables are kvmprobe's own, so a mail describes the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.scenarios.cpuid_tables import CAPTURED, Table
from kvmprobe.scenarios.ops.cpuid import SetCpuid, SetCpuid2
from kvmprobe.scenarios.ops.guest import GuestOp
from kvmprobe.scenarios.ops.msrs import SetXfd, SetXfdAsleep, SetXfdErr
from kvmprobe.scenarios.ops.sregs import SetSregs, SetSregs2
from kvmprobe.scenarios.ops.xcrs import SetXcrs
from kvmprobe.scenarios.ops.xsave import SetXsave, SetXsaveAsleep, SetXsaveImage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kvmprobe.scenarios.ops import Op

_TABLES: Mapping[Table, str] = {
    Table.SUPPORTED: "the table of KVM_GET_SUPPORTED_CPUID",
    Table.READ_BACK: "the table of KVM_GET_CPUID2",
    Table.FULL: "all supported CPUID entries",
    Table.NO_AMX: "a table without AMX",
    Table.TILE_CFG_ALONE: "a table with XTILE_CFG and without XTILE_DATA",
    Table.TILE_DATA_ALONE: "a table with XTILE_DATA and without XTILE_CFG",
    Table.ALL_XCR0: "a table with every bit of XCR0",
    Table.ALL_BUT_TILE_DATA: "a table with every bit of XCR0 but XTILE_DATA",
    Table.LEGACY: "a table with x87 and SSE state only",
    Table.EMPTY: "an empty table",
    Table.ONE_LEAF: "a table with one leaf",
    Table.NO_XSTATE_LEAF: "a table without leaf 0xD",
    Table.NO_XSAVE: "a table without XSAVE",
    Table.NO_XSAVES: "a table without XSAVES",
    Table.NO_XSAVEC: "a table without XSAVEC",
    Table.NO_COMPACTION: "a table without XSAVEC and XSAVES",
    Table.NO_PKU: "a table without PKU",
    Table.NO_XFD: "a table without XFD",
    Table.NO_XSS: "a table without IA32_XSS components",
    Table.NO_SHSTK: "a table without SHSTK",
    Table.NO_IBT: "a table without IBT",
    Table.NO_CET: "a table without CET",
    Table.CET: "a table with CET",
    Table.REVERSED: "a table in reverse order",
    Table.ONE_REGISTER: "a table with one register changed",
    Table.ONE_FLAG: "a table with one flag changed",
    Table.ONE_FEWER: "a table with one entry fewer",
    Table.RUNTIME_FIELDS: "a table with changed runtime fields",
    Table.PADDED: "a table padded with zero entries",
    Table.FILLED: "a table of 256 entries",
    Table.BAD_ADDRESS_SIZES: "a table with 40-bit linear addresses",
    Table.PLAIN: "a table without sub-leaves",
    Table.INDEXED: "a table whose entries all have an index",
    Table.ENCLAVES: "a table with SGX",
    Table.TSC_DEADLINE: "a table with x2APIC and the TSC-deadline timer",
}


_LONG = 60
_OPERANDS: Mapping[type[Op], str] = {
    SetXcrs: "XCR0={0.xcr0:#x}",
    SetXfd: "IA32_XFD={0.xfd:#x}",
    SetXfdAsleep: "IA32_XFD={0.xfd:#x}",
    SetXfdErr: "IA32_XFD_ERR={0.xfd_err:#x}",
    SetXsave: "XSTATE_BV={0.xstate_bv:#x}",
    SetXsaveAsleep: "XSTATE_BV={0.xstate_bv:#x}",
    SetXsaveImage: "XSTATE_BV={0.xstate_bv:#x}",
    SetSregs: "CR4={0.cr4:#x}",
    SetSregs2: "CR4={0.cr4:#x}",
}


def operand(op: Op) -> str:
    """Return the operand of a call: ``a table without AMX``; empty if it has no description."""
    if isinstance(op, SetCpuid2 | SetCpuid):
        return _TABLES[op.table]
    if isinstance(op, GuestOp):
        return op.mnemonic
    return _OPERANDS.get(type(op), "").format(op)


def short_call(op: Op | None) -> str:
    """Return a call for a narrow column: ``SET_XSAVE XSTATE_BV=0x60000``."""
    if op is None:
        return ""
    if isinstance(op, GuestOp):
        return op.mnemonic
    given = str(op.table) if isinstance(op, SetCpuid2 | SetCpuid) else operand(op)
    return f"{op.call_name.removeprefix('KVM_')} {given}".rstrip()


def row_text(ops: Sequence[Op], number: int) -> str:
    """Return a call for the table of steps; a repeated CPUID table refers to its first step.

    :param ops: the ops of the steps, in order
    """
    op = ops[number]
    if not isinstance(op, SetCpuid2 | SetCpuid):
        given = operand(op)
        return op.text if len(op.text) <= _LONG or not given else f"{op.call_name} {given}"
    text = f"{op.call_name} with {operand(op)}"
    before = [n for n, other in enumerate(ops[:number]) if other == op]
    if op.table in CAPTURED or not before:
        return text
    return f"{text}, the same as in step {before[0]}"
