"""The guest payload in a program: its code and its commands."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kvmprobe.abi.payload import COMMAND_SIZE, PayloadOp
from kvmprobe.native.payload_image import payload_code, payload_reset
from kvmprobe.repro.ctext import byte_list, number
from kvmprobe.repro.fill import statements

if TYPE_CHECKING:
    from kvmprobe.xstate.layout import Layout

_COMMAND = struct.Struct("=II5Q16x")
_REGISTERS = ("rax", "rbx", "rcx", "rdx", "offset")


def code() -> str:
    """Return the payload's machine code as C.

    :raises Unavailable: the extension module, which has the code, is not built
    """
    return "\n\n".join(
        [
            _array("payload_code", payload_code(), "The guest's code, at PAYLOAD_CODE."),
            _array("payload_reset", payload_reset(), "At the reset vector: jump to it."),
        ]
    )


def _array(name: str, content: bytes, purpose: str) -> str:
    rows = byte_list(content, "\t")
    return f"/* {purpose} */\nstatic const uint8_t {name}[] = {{\n{rows}\n}};"


def command_lines(command: bytes, memory: str, layout: Layout) -> list[str]:
    """Return the statements that write a command and its data to the payload's memory."""
    opcode, operand, *registers = _COMMAND.unpack_from(command)
    data = command[COMMAND_SIZE:]
    named = [
        f"\t.{name} = {number(value)},"
        for name, value in zip(_REGISTERS, registers, strict=True)
        if value
    ]
    tmm = [f"\t.operand = {operand},"] if operand else []
    lines = [
        "const struct payload_command command = {",
        f"\t.instruction = PAYLOAD_{PayloadOp(opcode).name},",
        *tmm,
        *named,
        "};",
        "",
        f"memcpy({memory} + PAYLOAD_COMMAND, &command, sizeof(command));",
    ]
    if data:
        to = f"{memory} + PAYLOAD_DATA"
        lines.append(f"memset({to}, 0, {len(data)});")
        lines += statements(data, to, layout)
    return lines
