"""Writes a scenario as one self-contained C program."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.model.outcome import NewDescriptor
from kvmprobe.reports.expectations import expected_result
from kvmprobe.repro.assembly import Parts, assemble, named_components
from kvmprobe.repro.checks import Checker
from kvmprobe.repro.ctext import block, comment, identifier, number
from kvmprobe.repro.ended import GO_ON
from kvmprobe.repro.environment import Environment
from kvmprobe.repro.expectation import expectations, showing
from kvmprobe.repro.fill import component_name
from kvmprobe.repro.issue import Issuer
from kvmprobe.repro.other_hosts import Profile
from kvmprobe.repro.pieces import loads_guest_fpu
from kvmprobe.results.known import known_defects
from kvmprobe.scenarios.calls import (
    MAIN,
    ArchPrctl,
    DuringRun,
    Ioctl,
    Output,
    Relation,
    RunGuest,
    RunVcpu,
    SetAltStack,
    Spawn,
)
from kvmprobe.scenarios.need import Need
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.repro.expectation import Expectation
    from kvmprobe.repro.issue import Issued
    from kvmprobe.scenarios.calls import Call
    from kvmprobe.scenarios.ops import Op
    from kvmprobe.scenarios.scenario import Scenario

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread")
SECONDS = 60
_SERVE = "--serve"


@dataclass(frozen=True, slots=True)
class _Made:
    """One op with its call, its expectation, and the function that makes the call."""

    op: Op
    call: Call
    expected: Expectation
    issued: Issued


def program(scenario: Scenario, host: HostProfile, profile: Profile = Profile.ASSUMED) -> str:
    """Return a C program that makes a scenario's calls and checks each result.

    :param host: the host for which the program is written
    :raises ScenarioError: a program cannot make one of the calls
    :raises Unavailable: the scenario runs the guest payload, and the extension module is not built
    """
    return _Writer(scenario, host, profile).text()


def is_gated(scenario: Scenario, host: HostProfile) -> bool:
    """Return whether its program stops before a load of the guest FPU that would panic the host."""
    return host.amx and any(loads_guest_fpu(op.lower(host)) for _, op in scenario.ops())


class _Writer:
    def __init__(self, scenario: Scenario, host: HostProfile, profile: Profile) -> None:
        self._scenario = scenario
        self._profile = profile
        self._host = host
        self._calls = calls = [op.lower(host) for _, op in scenario.ops()]
        self._around = Environment(calls)
        self._gated = is_gated(scenario, host)
        self._issuer = Issuer(self._around, host.layout, gated=self._gated)
        self._checker = Checker(self._around.names, host.layout)
        self._asked: dict[str, str] = {}

    def text(self) -> str:
        """Return the whole file."""
        wanted = iter(expectations(self._scenario, self._host, self._profile))
        steps = [
            "\n".join(self._step(number, ops_of_step, [next(wanted) for _ in ops_of_step]))
            for number, ops_of_step in enumerate(s.ops for s in self._scenario.steps)
        ]
        body = [*self._checker.data, *self._issuer.functions, *self._task_parts(), *steps]
        parts = Parts(self._head(), self._around.declarations, [*body, self._main()])
        return assemble(parts, self._host.layout)

    def _head(self) -> str:
        scenario, host = self._scenario, self._host
        flags = " ".join(FLAGS)
        lines = [
            f"{scenario.id}",
            "",
            "Makes one sequence of KVM calls and checks the result of each.  The comment at each",
            "step has the expected result, and its source in the documentation, the SDM or the",
            "kernel.",
            "",
            f"Build: cc {flags} -o reproducer reproducer.c",
            f"Run:   ./reproducer{f' [{GO_ON}]' if self._gated else ''}",
            "Exit:  0 not reproduced: the kernel behaves as expected",
            "       1 reproduced: a result differs",
            "       2 cannot run here: no /dev/kvm, no AMX, another CPU than it was written for,",
            f"         no 64-bit guest although it needs one, or not finished within {SECONDS} s",
        ]
        if self._gated:
            lines += [
                "",
                f"Without {GO_ON} it stops if XSTATE_BV and XFD show that the next load of the",
                "guest's FPU state would PANIC the host.",
            ]
        lines += ["", f"For KVM that offers guests XCR0={names(host.kvm_xcr0)}."]
        lines += self._known()
        lines.append(f"Written by kvmprobe {__version__}.")
        return comment("\n".join(lines))

    def _known(self) -> list[str]:
        by_id = {defect.id: defect for defect in known_defects().values()}
        shown = [by_id[i] for i in showing(self._scenario, self._host)]
        return [f"Shows: {d.title} (kvmprobe's {d.label()})." for d in shown]

    def _step(self, number: int, ops: tuple[Op, ...], wanted: list[Expectation]) -> list[str]:
        self._checker.begin(number)
        made = [self._make(op, expected) for op, expected in zip(ops, wanted, strict=True)]
        first = made[0]
        lines = [
            comment(
                f"Step {number}: {first.op.text}\n"
                f"Expected: {expected_result(first.expected.result)}.\n{_why(first.expected)}"
            ),
            f"static void step_{number}(void)",
            "{",
            "\tlong ret;",
            "",
        ]
        for place, one in enumerate(made):
            label = f"{number}{f'.{place}' if place else ''} {one.op.text}"
            if place:
                lines += ["", comment(_why(one.expected), "\t")]
            body = [
                f"ret = {self._made_by(one)};",
                *self._checker.lines(label, one.expected, one.issued),
                *self._keep(one),
            ]
            lines.append(block(body))
        return [*lines, "}"]

    def _make(self, op: Op, expected: Expectation) -> _Made:
        call = op.lower(self._host)
        return _Made(op, call, expected, self._issuer.issue(_by_any_task(call)))

    def _made_by(self, made: _Made) -> str:
        by = getattr(made.call, "by", MAIN)
        if by == MAIN:
            return f"{made.issued.function}()"
        asked = self._asked.setdefault(made.issued.function, made.issued.function.upper())
        return f"ask(&{self._around.tasks[by]}, ASK_{asked})"

    def _keep(self, made: _Made) -> list[str]:
        call = made.call
        if not isinstance(call, Ioctl) or not isinstance(call.argument, Output):
            return []
        capture = call.argument.capture
        if capture not in self._around.kept_sizes:
            return []
        copy = f"memcpy({self._around.kept[capture]}, {made.issued.output}, {call.argument.size});"
        lines = ["if (ret >= 0)", f"\t{copy}"]
        expected = made.expected.result
        if isinstance(expected, NewDescriptor) or (expected is not None and expected >= 0):
            lines += ["else", '\tgive_up("there is nothing to restore");']
        return lines

    def _task_parts(self) -> list[str]:
        if not self._asked and not any(isinstance(c, Spawn) for c in self._calls):
            return []
        enumerators = ", ".join(f"ASK_{name}" for name in self._asked.values())
        enum = [f"enum {{ {enumerators} }};"] if self._asked else []
        cases = [
            line
            for function, name in self._asked.items()
            for line in (f"case ASK_{name}:", f"\treturn {function}();")
        ]
        body = ["switch (call) {", *cases, "}", "return -ENOSYS;"]
        text = f"static long call_of_task(int call)\n{{\n{block(body)}\n}}"
        return [*enum, text]

    def _main(self) -> str:
        lines: list[str] = []
        executes = any(isinstance(c, Spawn) and c.relation is Relation.EXEC for c in self._calls)
        size = self._around.shared_size
        if executes:
            lines += [
                f'if (argc == 5 && strcmp(argv[1], "{_SERVE}") == 0) {{',
                f"\tmap_shared(atoi(argv[4]), {size});" if size else "\t(void)argv;",
                "\tserve(atoi(argv[2]), atoi(argv[3]));",
                "\treturn 0;",
                "}",
            ]
        if self._gated:
            lines.append(f'go_on = argc > 1 && strcmp(argv[1], "{GO_ON}") == 0;')
        lines += [
            "setvbuf(stdout, NULL, _IOLBF, 0);",
            f'end_within({SECONDS}, "ended early: did not end");',
            "need_kvm();",
        ]
        lines.append(f"need_guest_components({number(self._host.kvm_xcr0)});")
        lines += self._needs()
        if size or executes:
            made = f"shared_fd({max(size, 1)})"
            at = f"shared_memory = {made}" if executes else made
            lines.append(f"map_shared({at}, {max(size, 1)});")
        lines += [f"step_{n}();" for n in range(len(self._scenario.steps))]
        lines.append("return verdict();")
        arguments = "int argc, char **argv" if self._gated or executes else "void"
        return f"int main({arguments})\n{{\n{block(lines)}\n}}"

    def _needs(self) -> list[str]:
        """Return checks that the CPU's layout is that of the images, and that KVM runs guests."""
        text = "\n".join([*self._checker.data, *self._issuer.functions])
        lines = [
            f"need_component({c.nr}, {component_name(c.nr)}, {c.size});"
            for c in named_components(text, self._host.layout)
        ]
        if "XSAVE_MXCSR_MASK" in text:
            lines.append(f"need_mxcsr_mask({number(self._host.mxcsr_mask)});")
        if any(isinstance(call, RunGuest | DuringRun) for call in self._calls):
            lines.append("need_guest_code();")
        if Need.NESTED_VMX in self._scenario.needs:
            lines.append("need_nested_vmx();")
        return lines


def _by_any_task(call: Call) -> Call:
    """Return the call without its task, because all tasks call the same function."""
    if isinstance(call, Ioctl | ArchPrctl | SetAltStack | RunVcpu):
        return replace(call, by=MAIN)
    return call


def _why(expected: Expectation) -> str:
    text = ": ".join(filter(None, (str(expected.rule), expected.death)))
    if expected.depends_on:
        text += f".  Not judged where it depends on {', '.join(expected.depends_on)}"
    return text


def file_name(scenario: Scenario) -> str:
    """Return the default file name of a scenario's program."""
    return f"{identifier(scenario.id)}.c"
