"""The plan of a matrix, as it is kept in its directory."""

import json

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.results.matrix import PLAN, Matrix, is_matrix, read_matrix, runs_in
from kvmprobe.results.run_directory import JOURNAL

SPECS = ("6.12.43", "/boot/vmlinuz 1", "boot/vmlinuz_1", "..")
MATRIX = Matrix.of(["matrix", "--kernels", "6.12.43"], "/", SPECS)


def test_each_kernel_has_a_folder_of_its_own_below_the_matrix():
    folders = [kernel.folder for kernel in MATRIX.kernels]
    assert folders == ["6.12.43", "boot_vmlinuz_1", "boot_vmlinuz_1~1", "kernel"]


def test_it_is_read_as_it_was_written(tmp_path):
    refused = MATRIX.refusing("..", "no kernel")
    refused.write(tmp_path)
    assert read_matrix(tmp_path) == refused
    assert refused.refusing("..", "") == MATRIX


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not the plan of a matrix"),
        ("[]", "not the plan of a matrix"),
        (json.dumps({"schema": "kvmprobe-matrix/9"}), "from a newer kvmprobe"),
        (json.dumps({"schema": "kvmprobe-matrix/1", "matrix": {"argv": 1}}), "is missing"),
    ],
)
def test_another_file_is_refused_by_its_name(tmp_path, content, says):
    (tmp_path / PLAN).write_text(content)
    with pytest.raises(UsageError, match=f"{PLAN}: .*{says}"):
        read_matrix(tmp_path)


def test_its_runs_are_those_that_have_begun(tmp_path):
    MATRIX.write(tmp_path)
    begun = tmp_path / "6.12.43"
    begun.mkdir()
    (begun / JOURNAL).touch()
    assert (is_matrix(tmp_path), runs_in(tmp_path)) == (True, [begun])
    assert (is_matrix(begun), runs_in(begun)) == (False, [begun])
