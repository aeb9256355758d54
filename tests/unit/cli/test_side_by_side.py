"""Kernels of a matrix at the same time: how many, and what comes of each."""

import pytest

from kvmprobe.cli.side_by_side import KernelRun, at_once, reasons

GIB = 1 << 30


@pytest.mark.parametrize(
    ("kernels", "jobs", "available", "expected"),
    [(4, 2, 64 * GIB, 2), (4, 16, 64 * GIB, 4), (4, 16, 3 * GIB, 3), (4, 16, GIB // 2, 1)],
)
def test_each_kernel_has_a_job_and_a_gib_of_memory(kernels, jobs, available, expected):
    assert at_once(kernels, jobs, available) == expected


def run(tmp_path, name):
    words = ("run", "--kernel", f"/nowhere/{name}", "--select", "xcrs.single.cpuid")
    return KernelRun(name, words, str(tmp_path / name), 1)


def test_kernels_beside_each_other_give_the_reasons_that_each_gives_alone(tmp_path):
    runs = [run(tmp_path, name) for name in "ab"]
    alone = dict(reasons(runs, most=1))
    assert dict(reasons(runs, most=2)) == alone
    assert alone["a"] == "--kernel /nowhere/a: /nowhere/a does not exist"


def test_a_kernel_whose_process_dies_has_no_reason_and_the_others_go_on(tmp_path):
    broken = KernelRun("broken", ("no-command",), str(tmp_path / "broken"), 1)
    found = dict(reasons([broken, run(tmp_path, "a")], most=2))
    assert (found["broken"], found["a"][:8]) == ("", "--kernel")
    assert "invalid choice: 'no-command'" in (tmp_path / "broken.log").read_text()
