"""``kvmprobe coverage`` on what has none, and on what cannot be compared."""

import pytest

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.main import main
from kvmprobe.coverage.coverage_file import to_text
from kvmprobe.coverage.functions import KernelFunctions
from kvmprobe.errors import ExitCode
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.place import Risk
from kvmprobe.results.record import Target
from kvmprobe.results.run_directory import RunDirectory
from tests.support.covered_code import FUNCTIONS, bits

LAB = Target("lab", "7.3.4", "a package")
BEGIN = {"run_id": "1", "tool": "t", "command": [], "boot_id": "b", "time": "", "planned": []}


@pytest.mark.parametrize("words", [["run"], ["replay", "file"]])
def test_every_command_that_runs_scenarios_can_measure(words):
    assert parser(words).parse_args([*words, "--coverage"]).coverage is True
    assert parser(words).parse_args(words).coverage is False


def test_a_run_without_coverage_is_refused(tmp_path, capsys):
    RunDirectory.create(tmp_path / "run", BEGIN).close()
    assert main(["coverage", str(tmp_path / "run")]) == ExitCode.USAGE
    assert "coverage was not measured; `kvmprobe run --coverage`" in capsys.readouterr().err


def test_a_run_and_a_program_are_compared(tmp_path, capsys):
    directory = RunDirectory.create(tmp_path / "run", BEGIN)
    ledger = Journaling(directory)
    ledger.watches(FUNCTIONS)
    ledger.place(LAB, Risk.EXPENDABLE, {})
    ledger.reached("s", bits(0, 1))
    directory.close()
    file = tmp_path / "file"
    file.write_text(to_text(LAB, FUNCTIONS, "program", bits(0, 5)))
    status = main(["coverage", str(tmp_path / "run"), "--diff", str(file)])
    out = capsys.readouterr().out
    assert status == ExitCode.OK
    assert "  - kvm: __kvm_set_xcr+0x4 (__kvm_set_xcr), first by s" in out
    assert "  + kvm: __kvm_set_xcr+0x15 (__kvm_set_xcr), first by program" in out


@pytest.mark.parametrize(
    ("kernel", "functions", "why"),
    [
        ("6.12.95", FUNCTIONS, "different kernels"),
        ("7.3.4", KernelFunctions(()), "different lists"),
    ],
)
def test_what_has_other_blocks_is_not_compared(tmp_path, capsys, kernel, functions, why):
    for name, target, listed in (
        ("a", LAB, FUNCTIONS),
        ("b", Target("lab", kernel, "a package"), functions),
    ):
        (tmp_path / name).write_text(to_text(target, listed, "program", bits(0)))
    given = ["coverage", str(tmp_path / "a"), "--diff", str(tmp_path / "b")]
    assert main(given) == ExitCode.USAGE
    assert why in capsys.readouterr().err


def test_lines_without_blocks_are_refused(tmp_path, capsys):
    assert main(["coverage", str(tmp_path), "--lines"]) == ExitCode.USAGE
    assert "--lines needs --blocks or --unreached" in capsys.readouterr().err
