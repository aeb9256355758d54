"""Which package has a kernel's source."""

from pathlib import Path

import pytest

from kvmprobe.errors import DownloadFailed, UsageError
from kvmprobe.lab.kernel_store import Kernel
from kvmprobe.lab.packages import Package
from kvmprobe.suites.source import chosen


def package(name, version, suite="trixie", sha256=None):
    sha256 = sha256 or f"{name} {version}"
    return Package(name, version, 1, sha256, f"pool/{name}.deb", "", suite, "copy:/x/")


OLD = package("linux-source-6.12", "6.12.95-1~bpo12+1")
NEW = package("linux-source-6.12", "6.12.117-1")
ELSEWHERE = package("linux-source-6.12", "6.12.117-1", "trixie-security")
OTHER = package("linux-source-7.3", "7.3.4-1~bpo13+1")
LISTED = (OLD, NEW, ELSEWHERE, OTHER)


def kernel(label, version):
    source = f"linux-image-{label}-cloud-amd64 {version} (trixie)"
    return Kernel(f"{label}-cloud-amd64", label, Path("/vmlinuz"), (), source)


def test_a_kernels_own_version_is_taken():
    assert chosen(LISTED, kernel("6.12.95", "6.12.95-1~bpo12+1"), None) == (OLD,)


def test_another_package_of_the_same_release_is_taken_if_its_own_is_not_listed():
    assert chosen(LISTED, kernel("6.12.95", "6.12.95-1"), None) == (OLD,)


def test_the_newest_of_its_series_is_taken_if_its_release_is_not_listed():
    assert chosen(LISTED, kernel("6.12.43", "6.12.43-1"), None) == (NEW, ELSEWHERE)


def test_a_name_is_its_newest_version_in_each_archive():
    wanted = "linux-source-6.12"
    assert chosen(LISTED, kernel("7.3.4", "7.3.4-1"), wanted) == (NEW, ELSEWHERE)


def test_a_version_can_be_named():
    wanted = "linux-source-6.12=6.12.95-1~bpo12+1"
    assert chosen(LISTED, kernel("7.3.4", "7.3.4-1"), wanted) == (OLD,)


@pytest.mark.parametrize("wanted", ["linux-source-6.12=1", "linux-source-9.9", None])
def test_what_is_not_listed_is_refused_with_what_there_is(wanted):
    with pytest.raises(DownloadFailed, match=r"linux-source-6\.12, linux-source-7\.3"):
        chosen(LISTED, kernel("9.9.9", "9.9.9-1"), wanted)


def test_another_word_is_wrong_usage():
    with pytest.raises(UsageError, match="expected linux-source-VERSION"):
        chosen(LISTED, kernel("7.3.4", "7.3.4-1"), "linux-image-7.3")
