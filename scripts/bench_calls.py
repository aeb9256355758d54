"""Write a C program that issues the calls of many scenarios, each in its own process.

The calls are those of ``kvmprobe repro``.  Results are not checked, since scenarios have calls that
the kernel refuses.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from kvmprobe.repro.assembly import Parts, assemble
from kvmprobe.repro.ctext import block, comment
from kvmprobe.repro.environment import Environment
from kvmprobe.repro.issue import Issuer
from kvmprobe.scenarios.calls import Ioctl, Output

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.calls import Call
    from kvmprobe.scenarios.scenario import Scenario

_FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")
_MAIN = """\
/* In a fresh child of a process that never asked for permission, opened /dev/kvm or used AMX. */
static int run_in_child(void (*scenario)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		scenario();
		_exit(0);
	}
	return pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0;
}

int main(int argc, char **argv)
{
	long repeats = argc == 2 ? atol(argv[1]) : 0;

	while (repeats-- > 0) {
		for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
			if (run_in_child(scenarios[i])) {
				fprintf(stderr, "scenario %zu failed\\n", i);
				return 1;
			}
		}
	}
	return 0;
}"""


def build(scenarios: Sequence[Scenario], host: HostProfile, directory: Path, *flags: str) -> Path:
    """Compile the C program for these scenarios; the executable's argument is REPEATS."""
    directory.mkdir()
    source, program = directory / "bench.c", directory / "bench"
    source.write_text(_text([[op.lower(host) for _, op in s.ops()] for s in scenarios], host))
    subprocess.run(["cc", *_FLAGS, *flags, "-o", str(program), str(source)], check=True)
    return program


def _text(scenarios: Sequence[Sequence[Call]], host: HostProfile) -> str:
    around = Environment([call for calls in scenarios for call in calls])
    issuer = Issuer(around, host.layout, gated=False)
    functions = [
        _scenario(f"scenario_{number}", calls, issuer, around)
        for number, calls in enumerate(scenarios)
    ]
    names = ", ".join(f"scenario_{number}" for number in range(len(scenarios)))
    listed = f"static void (*const scenarios[])(void) = {{ {names} }};"
    head = comment("Many scenarios, each in a process of its own; the argument says how often.")
    body = ["#include <sys/wait.h>", *issuer.functions, *functions, listed, _MAIN]
    return assemble(Parts(head, around.declarations, body), host.layout)


def _scenario(name: str, calls: Sequence[Call], issuer: Issuer, around: Environment) -> str:
    lines: list[str] = []
    for call in calls:
        issued = issuer.issue(call)
        kept = _kept(call, around)
        if kept:
            lines.append(f"if ({issued.function}() >= 0)")
            lines.append(f"\tmemcpy({kept}, {issued.output}, {issued.output_size});")
        else:
            lines.append(f"{issued.function}();")
    return f"static void {name}(void)\n{{\n{block(lines)}\n}}"


def _kept(call: Call, around: Environment) -> str:
    if not isinstance(call, Ioctl) or not isinstance(call.argument, Output):
        return ""
    capture = call.argument.capture
    return around.kept[capture] if capture in around.kept_sizes else ""
