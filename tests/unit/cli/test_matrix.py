"""``kvmprobe matrix`` as far as no kernel is booted: none of these exists."""

import json

import pytest

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.kernel_runs import words_for
from kvmprobe.cli.main import main
from kvmprobe.cli.matrix import _PASSED_ON
from kvmprobe.errors import ExitCode

ONE = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
NOWHERE = ["matrix", "--kernels", "/nowhere/a,/nowhere/b", "--select", ONE, "--observe", "each"]


@pytest.fixture
def finished(tmp_path, monkeypatch, capsys):
    """Run it; returns its directory, status and output."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "matrix"
    status = main([*NOWHERE, "--out", str(out), "--json", "table.json"])
    return out, status, capsys.readouterr().out


def test_a_kernel_that_does_not_exist_says_so_in_its_column(finished):
    _, status, printed = finished
    assert status == ExitCode.NOTHING_RAN
    assert "/nowhere/a: refused: --kernel /nowhere/a: /nowhere/a does not exist" in printed
    assert "planned 2 (2 kernels, 1 scenarios): 0 run, 0 skipped, 2 refused" in printed


def test_the_document_has_each_kernel_and_scenario(finished):
    out, *_ = finished
    table = json.loads((out.parent / "table.json").read_text())
    assert [kernel["spec"] for kernel in table["kernels"]] == ["/nowhere/a", "/nowhere/b"]
    assert [(row["id"], row["cells"]) for row in table["scenarios"]] == [(ONE, [None, None])]


def test_resume_tries_the_kernels_again_and_prints_the_same_table(finished, capsys):
    out, status, printed = finished
    assert main(["resume", str(out)]) == status
    assert capsys.readouterr().out == printed


def test_a_matrix_has_no_timeout(finished, capsys):
    out, *_ = finished
    assert main(["resume", str(out), "--timeout", "1"]) == ExitCode.USAGE
    assert "--timeout is for a run" in capsys.readouterr().err


def test_a_report_of_it_is_one_of_its_runs(finished, capsys):
    out, *_ = finished
    assert main(["report", str(out), "--format", "jsonl"]) == ExitCode.USAGE
    assert f"{out}: no kernel of this matrix has a run" in capsys.readouterr().err


def test_a_directory_with_anything_in_it_is_not_overwritten(finished, capsys):
    out, *_ = finished
    assert main([*NOWHERE, "--out", str(out)]) == ExitCode.USAGE
    assert (
        f"not empty; `kvmprobe resume {out}` continues a run or a matrix" in capsys.readouterr().err
    )


def test_each_kernels_run_has_the_options_of_the_matrix():
    options = ["--select", "xcrs.*", "--exclude", "xcrs.a", "--append", "nopku noxsaves", "--cold"]
    options += ["--relation", "twice", "--known", "xfail", "--jobs", "3", "--cpus", "2"]
    given = parser(["matrix"]).parse_args(["matrix", "--kernels", "6.1", *options])
    words = words_for(given, "6.1", _PASSED_ON)
    expected = parser(["run"]).parse_args(["run", "--kernel", "6.1", *options])
    assert parser(["run"]).parse_args(words) == expected
