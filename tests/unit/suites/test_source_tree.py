"""Unpacking a kernel's source."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.suites.source import Source
from kvmprobe.suites.source_tree import unpack
from tests.support.debs import build_deb
from tests.support.suites import source_package


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "tree"
    made.mkdir()
    return made


def source(deb):
    return Source(deb.name, deb, "")


def test_what_a_build_needs_is_unpacked(tmp_path, folder):
    tree = unpack(source(source_package(tmp_path)), folder)
    assert (tree / "Makefile").is_file()
    assert (tree / "tools/testing/selftests/kvm/passes_test.c").is_file()


def test_the_rest_is_not(tmp_path, folder):
    tree = unpack(source(source_package(tmp_path)), folder)
    assert {path.name for path in tree.iterdir()} == {"Makefile", "tools"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"usr/src/other": b""}, "has no usr/src/linux-source"),
        ({"usr/src/linux-source-7.3.tar.xz": b"nothing packed"}, "damaged"),
    ],
)
def test_a_package_without_a_source_is_refused(tmp_path, folder, files, message):
    deb = build_deb(tmp_path / "odd.deb", files)
    with pytest.raises(UsageError, match=message):
        unpack(source(deb), folder)
