"""Directories of the cache with the hashes of their files."""

import subprocess

import pytest

from kvmprobe.lab.seal import is_whole, seal


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "bochs").write_bytes(b"\x7fELF")
    (tmp_path / "COPYING").write_text("LGPL\n")
    seal(tmp_path)
    return tmp_path


def test_a_sealed_one_is_whole(folder):
    assert is_whole(folder)


def test_sha256sum_reads_the_seal(folder):
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "bochs").write_bytes(b"\x7fELG"),
        lambda folder: (folder / "bochs").write_bytes(b""),
        lambda folder: (folder / "bochs").unlink(),
        lambda folder: (folder / "more").touch(),
        lambda folder: (folder / "SHA256SUMS").unlink(),
        lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff\n"),
        lambda folder: (folder / "SHA256SUMS").write_text("x\n"),
    ],
)
def test_a_damaged_one_is_not(folder, damage):
    damage(folder)
    assert not is_whole(folder)


def test_one_that_is_not_there_is_not(tmp_path):
    assert not is_whole(tmp_path / "none")
