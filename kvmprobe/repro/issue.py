"""Writes a C function for each lowered call; it returns the call's result, or -errno."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import ArchPrctlCode
from kvmprobe.abi.payload import RESULT_SIZE
from kvmprobe.errors import ScenarioError
from kvmprobe.repro.ctext import block, identifier, number
from kvmprobe.repro.fill import statements
from kvmprobe.repro.guest import command_lines
from kvmprobe.repro.pieces import (
    blank,
    immediate,
    loads_guest_fpu,
    patch,
    plain,
    preferred_name,
    request_name,
    run_patch,
)
from kvmprobe.repro.typed import definition
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Captured,
    Close,
    DuringRun,
    GoOnInChild,
    Immediate,
    Ioctl,
    Kick,
    LimitDescriptors,
    Literal,
    LiteralAtPageEnd,
    MapMemory,
    MapPayload,
    OpenKvm,
    Output,
    OutputAtPageEnd,
    OutputBehind,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    SharePayload,
    SleepingLiteral,
    Spawn,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvmprobe.repro.environment import Environment
    from kvmprobe.scenarios.calls import Call
    from kvmprobe.xstate.layout import Layout

_EXIT_REASON_SIZE = 4
_IMAGES = frozenset({ioctls.SET_XSAVE.number})
_KICKS = {
    Kick.BY_SIGNAL: "KVMPROBE_BY_SIGNAL",
    Kick.WITH_IMMEDIATE_EXIT: "KVMPROBE_WITH_IMMEDIATE_EXIT",
}
_SPAWNS = {
    Relation.THREAD: "spawn_thread",
    Relation.FORK: "spawn_fork",
    Relation.SHARED_MM: "spawn_shared_mm",
    Relation.EXEC: "spawn_exec",
}


@dataclass(frozen=True, slots=True)
class Issued:
    """The function of a call, and its output buffer.

    :ivar output: C expression of the buffer; empty if the call has none
    :ivar output_size: its size in bytes
    """

    function: str
    text: str
    output: str = ""
    output_size: int = 0


@dataclass(frozen=True, slots=True)
class _Body:
    lines: list[str]
    output: str = ""
    size: int = 0


class Issuer:
    """Writes the function of each distinct call once.

    :param layout: layout of the XSAVE images among the arguments
    :param gated: stop before a guest-FPU load that would kill the host
    """

    def __init__(self, around: Environment, layout: Layout, *, gated: bool) -> None:
        self._around = around
        self._layout = layout
        self._gated = gated
        self._issued: dict[Call, Issued] = {}

    @property
    def functions(self) -> list[str]:
        """All functions so far, in order of first use."""
        return [issued.text for issued in self._issued.values()]

    def issue(self, call: Call) -> Issued:
        """Return the function that makes a call.

        :raises ScenarioError: a program cannot make this call
        """
        if call not in self._issued:
            name = self._around.names.fresh(identifier(preferred_name(call)))
            body = self._body(call, f"{name}_out")
            text = f"static long {name}(void)\n{{\n{block(body.lines)}\n}}"
            self._issued[call] = Issued(name, text, body.output, body.size)
        return self._issued[call]

    def _before_load(self, call: Ioctl | RunVcpu | RunGuest | DuringRun) -> list[str]:
        if not self._gated or not loads_guest_fpu(call):
            return []
        on = self._around.descriptors[call.on]
        return [f"if (load_is_fatal({on}))", "\treturn STOPPED;"]

    def _body(self, call: Call, out: str) -> _Body:
        match call:
            case Ioctl():
                return self._ioctl(call, out)
            case ArchPrctl():
                return self._arch_prctl(call, out)
            case RunVcpu() | RunGuest() | DuringRun():
                return self._running(call, out)
            case MapMemory() | MapPayload() | SharePayload():
                return _Body(self._memory_lines(call))
            case OpenKvm() | Close() | SetAltStack() | LimitDescriptors() | Spawn() | GoOnInChild():
                return self._of_process(call)

    def _running(self, call: RunVcpu | RunGuest | DuringRun, out: str) -> _Body:
        match call:
            case RunVcpu():
                return self._run(call, out)
            case RunGuest():
                return self._run_guest(call, out)
            case DuringRun():
                return self._during_run(call, out)

    def _memory_lines(self, call: MapMemory | MapPayload | SharePayload) -> list[str]:
        vm = self._around.descriptors[call.on]
        match call:
            case MapMemory(_, slot, address, content):
                place = f"{vm}, {slot}, {number(address)}, memory, sizeof(memory)"
                first = f"static uint8_t memory[{len(content)}];"
                return [first, "", *statements(content, "memory"), f"return set_memory({place});"]
            case MapPayload(_, memory):
                return [f"return map_payload({vm}, &{self._around.memories[memory]});"]
            case SharePayload(_, memory):
                return [f"return share_payload({vm}, {self._around.memories[memory]});"]

    def _of_process(
        self, call: OpenKvm | Close | SetAltStack | LimitDescriptors | Spawn | GoOnInChild
    ) -> _Body:
        match call:
            case OpenKvm(binds):
                kvm = self._around.descriptors[binds]
                return _Body(['long fd = open_kvm("/dev/kvm");', "", *self._bind(kvm, binds)])
            case Close(on):
                return self._close(on)
            case SetAltStack(size):
                return _Body([f"return set_alt_stack({size});"])
            case LimitDescriptors():
                return _Body(["return limit_descriptors();"])
            case Spawn(binds, relation):
                return _Body([f"return {_SPAWNS[relation]}(&{self._around.tasks[binds]});"])
            case GoOnInChild():
                return _Body(["return go_on_in_child();"])

    def _bind(self, variable: str, name: str) -> list[str]:
        more = []
        if self._around.run_areas and variable == "kvm":
            more = ["run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);"]
        if name in self._around.run_areas:
            more = [f"{self._around.run_areas[name]} = map_run_area({variable}, run_size);"]
        lines = [f"{variable} = (int)fd;", *more]
        inner = [f"\t{line}" for line in lines]
        opened = ["if (fd >= 0) {", *inner, "}"] if more else ["if (fd >= 0)", *inner]
        return [*opened, "return fd;"]

    def _close(self, on: str) -> _Body:
        fd = self._around.descriptors[on]
        unmap = []
        if on in self._around.run_areas:
            area = self._around.run_areas[on]
            unmap = [f"if ({area})", f"\tmunmap({area}, run_size);", f"{area} = NULL;"]
        closing = [f"long result = result_of(close({fd}));", ""]
        return _Body([*closing, *unmap, f"{fd} = -1;", "return result;"])

    def _arch_prctl(self, call: ArchPrctl, out: str) -> _Body:
        known = call.code in set(ArchPrctlCode)
        code = f"ARCH_{ArchPrctlCode(call.code).name}" if known else number(call.code)
        match call.argument:
            case Immediate(value):
                lines = [f"return result_of(syscall(SYS_arch_prctl, {code}, {plain(value)}));"]
                return _Body(lines)
            case Output(size, head, capture) if not capture:
                buffer = self._around.output(out, size)
                made = f"return result_of(syscall(SYS_arch_prctl, {code}, {buffer}));"
                return _Body([*blank(buffer, size, head), made], buffer, size)
            case other:
                raise ScenarioError(f"a C program cannot make arch_prctl(2) with {other!r:.100}")

    def _during_run(self, call: DuringRun, out: str) -> _Body:
        area, memory = self._around.run_areas[call.on], self._around.memories[call.memory]
        body = self._ioctl(call.ioctl, out, f"{area}, {memory}, {_KICKS[call.kick]}")
        lines = [
            f"if (!{area} || !{memory})",
            '\tgive_up("there is no guest to run");',
            *self._before_load(call),
        ]
        first = next((n for n, line in enumerate(body.lines) if not line), -1) + 1
        declared, rest = body.lines[:first], body.lines[first:]
        return _Body([*declared, *lines, *rest], body.output, body.size)

    def _ioctl(self, call: Ioctl, out: str, during: str = "") -> _Body:
        fd, request = self._around.descriptors[call.on], request_name(call.number)

        def made(argument: str) -> str:
            if during:
                given = f"(uintptr_t)({argument})"
                return f"return ioctl_during_run({fd}, {request}, {given}, {during});"
            return f"return result_of(ioctl({fd}, {request}, {argument}));"

        match call.argument:
            case Immediate(value) if call.binds:
                bound = self._around.descriptors[call.binds]
                first = f"long fd = result_of(ioctl({fd}, {request}, {plain(value)}));"
                return _Body([first, "", *self._bind(bound, call.binds)])
            case Immediate(value):
                return _Body([made(immediate(call.number, value))])
            case Literal() | LiteralAtPageEnd() | SleepingLiteral():
                return _Body(self._given(call, call.argument, made))
            case Captured(name, patches):
                return self._captured(made, name, patches)
            case Output() | OutputAtPageEnd() | OutputBehind():
                lines, buffer, size = self._output(call.number, call.argument, out)
                return _Body([*lines, *self._before_load(call), made(buffer)], buffer, size)

    def _given(
        self,
        call: Ioctl,
        argument: Literal | LiteralAtPageEnd | SleepingLiteral,
        made: Callable[[str], str],
    ) -> list[str]:
        content = argument.content
        if isinstance(argument, LiteralAtPageEnd):
            lines = statements(content, "bytes", self._image_layout(call.number))
            first = f"uint8_t *bytes = at_page_end({len(content)});"
            return [first, "", *lines, made("bytes")]
        lines, given = self._input(call.number, content)
        if isinstance(argument, Literal):
            return [*lines, *self._before_load(call), made(given)]
        fd, request = self._around.descriptors[call.on], request_name(call.number)
        return [*lines, f"return ioctl_asleep({fd}, {request}, {given}, {len(content)});"]

    def _captured(
        self, made: Callable[[str], str], name: str, patches: tuple[tuple[int, bytes], ...]
    ) -> _Body:
        kept, size = self._around.kept[name], self._around.kept_sizes[name]
        if not patches:
            return _Body([made(kept)])
        lines = [f"static uint8_t bytes[{size}];", "", f"memcpy(bytes, {kept}, {size});"]
        for offset, content in patches:
            lines += patch(offset, content)
        return _Body([*lines, made("bytes")])

    def _input(self, request: int, content: bytes) -> tuple[list[str], str]:
        typed = definition(request, content, "argument")
        if typed is not None:
            return [*typed.splitlines(), ""], "&argument"
        filled = statements(content, "bytes", self._image_layout(request))
        return [f"static uint8_t bytes[{max(len(content), 1)}];", "", *filled], "bytes"

    def _image_layout(self, request: int) -> Layout | None:
        return self._layout if request in _IMAGES else None

    def _output(
        self, request: int, argument: Output | OutputAtPageEnd | OutputBehind, out: str
    ) -> tuple[list[str], str, int]:
        match argument:
            case Output(size, head):
                buffer = self._around.output(out, size)
                typed = definition(request, head, "argument")
                if typed is not None and size == len(head):
                    filling = [*typed.splitlines(), "", f"memcpy({buffer}, &argument, {size});"]
                    return filling, buffer, size
                return blank(buffer, size, head), buffer, size
            case OutputAtPageEnd(size, head):
                buffer = self._around.output_pointer(out)
                lines = [f"{buffer} = at_page_end({size});", *blank(buffer, size, head)]
                return lines, buffer, size
            case OutputBehind(head, pointer_offset, size, content):
                whole = len(head) + size
                buffer = self._around.output(out, whole)
                after = f"{buffer} + {len(head)}"
                pointer = f"put_u64({buffer} + {pointer_offset}, (uintptr_t)({after}));"
                return [*blank(buffer, whole, head + content), pointer], buffer, whole

    def _run(self, call: RunVcpu, out: str) -> _Body:
        fd, area = self._around.descriptors[call.on], self._around.run_areas[call.on]
        size = call.size if call.patches else _EXIT_REASON_SIZE
        buffer = self._around.output(out, size)
        lines = [
            f"if (!{area})",
            '\tgive_up("there is no vCPU to run");',
            *self._before_load(call),
            *(
                line
                for offset, content in call.patches
                for line in run_patch(area, offset, content)
            ),
            f"{area}->immediate_exit = {call.immediate_exit};",
            f"return run_once({fd}, {area}, {buffer}, {size});",
        ]
        return _Body(lines, buffer, size)

    def _run_guest(self, call: RunGuest, out: str) -> _Body:
        fd, area = self._around.descriptors[call.on], self._around.run_areas[call.on]
        memory = self._around.memories[call.memory]
        size = RESULT_SIZE + call.data_size
        buffer = self._around.output(out, size)
        lines = [
            *command_lines(call.command, memory, self._layout),
            f"if (!{area} || !{memory})",
            '\tgive_up("there is no guest to run");',
            *self._before_load(call),
            f"return run_guest({fd}, {area}, {memory}, {buffer}, {call.data_size});",
        ]
        return _Body(lines, buffer, size)
