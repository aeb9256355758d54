"""Constants for C and assembly, by their C names.  Layer: abi, pure.

They are declared in Python, because reports and reproducers need the numbers on machines without
the compiled modules, and the type checker needs the names.  ``cdefs/build_ext.py`` writes them to
``constants.h`` for the executor; a reproducer gets the ones that it uses.
"""

from __future__ import annotations

from kvmprobe.abi import fpu_loads, limits, payload
from kvmprobe.abi.executor import (
    CallKind,
    Competition,
    ExitCode,
    HostRegisters,
    KickKind,
    Placement,
    RunFault,
    TaskRelation,
)
from kvmprobe.abi.log_records import LOST_RECORDS
from kvmprobe.abi.numbers import RESET_PAGE, RESET_VECTOR, Msr
from kvmprobe.abi.recorder import (
    MOST_PAYLOAD,
    NOT_RETURNED,
    AreaMissing,
    TraceEvent,
    TraceFailure,
    TraceGap,
    TracePart,
)


def c_constants() -> dict[str, str]:
    """Return each constant's C expression by its name."""
    numbers = {
        **{name: value for name, value in vars(limits).items() if name.isupper()},
        **{f"PAYLOAD_{name}": int(value) for name, value in payload.PLACES.items()},
        **{f"PAYLOAD_COMMAND_{name.upper()}": at for name, at in payload.COMMAND.items()},
        **{f"PAYLOAD_RESULT_{name.upper()}": at for name, at in payload.RESULT.items()},
        "RESET_PAGE": RESET_PAGE,
        "RESET_VECTOR": RESET_VECTOR,
        "XFD_MSR": int(Msr.IA32_XFD),
    }
    executor = [
        *(*CallKind, *TaskRelation, *HostRegisters, *Competition, *Placement),
        *(*KickKind, *RunFault, *ExitCode),
    ]
    recorder = [*TraceEvent, *TracePart, *TraceGap, *TraceFailure, *AreaMissing]
    lists = {
        "FPU_MSR_LISTS": fpu_loads.MSR_LISTS,
        "FPU_ONE_REGISTERS": fpu_loads.ONE_REGISTERS,
        "FPU_LOADING_MSRS": fpu_loads.LOADING_MSRS,
    }
    # In decimal: the assembler makes labels of them.
    opcodes = {f"PAYLOAD_{op.name}": str(int(op)) for op in payload.PayloadOp}
    return {
        **opcodes,
        "PAYLOAD_COMMANDS": str(len(opcodes)),
        **{f"KVMPROBE_{member.name}": str(int(member)) for member in executor},
        **{member.name: str(int(member)) for member in recorder},
        "TRACE_MOST_PAYLOAD": str(MOST_PAYLOAD),
        # C has no literal of the smallest number.
        "TRACE_NOT_RETURNED": f"({NOT_RETURNED + 1}ll - 1)",
        **{name: f"{value:#x}" for name, value in numbers.items()},
        **{name: ", ".join(f"{value:#x}" for value in values) for name, values in lists.items()},
        "LOST_RECORDS": f'"{LOST_RECORDS}"',
    }


def as_header() -> str:
    """Return all of them as a header for C and for the assembler."""
    return "".join(f"#define {name} {value}\n" for name, value in c_constants().items())
