"""Kernels of the real archive that this machine's apt is configured with."""

from __future__ import annotations

import pytest

from kvmprobe.errors import KernelNotFound
from kvmprobe.lab.archive import Archives, Refresh
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.kernel_release import read_banner
from kvmprobe.lab.kernels import available, resolve
from kvmprobe.lab.modules import read_info
from kvmprobe.progress import Silent

pytestmark = pytest.mark.lab

TARBALL = "pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz"
TARBALL_SIZE = 3896488
TARBALL_SHA256 = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def archives(cache):
    return Archives(cache)


def resolved(spec, archives):
    return resolve(spec, modules_dir=None, archives=archives, progress=Silent())


# One of each way that Debian packs a kernel: plain modules, compressed ones, two packages.
@pytest.mark.parametrize("spec", ["6.1", "6.12", "7.3", None])
def test_packaged_kernel_has_its_kvm_modules(archives, spec):
    kernel = resolved(spec, archives)
    assert read_banner(kernel.vmlinuz).release == kernel.release
    assert [path.name for path in kernel.modules] == ["irqbypass.ko", "kvm.ko", "kvm-intel.ko"]
    assert {read_info(path).release for path in kernel.modules} == {kernel.release}
    assert spec is None or kernel.label.startswith(f"{spec}.")


def test_second_time_needs_no_network(archives, cache):
    first = resolved("6.1", archives)
    assert resolved("6.1", Archives(cache, refresh=Refresh.NEVER)) == first


def test_newest_of_all_is_the_default(archives):
    newest = available(archives, Silent())[0]
    assert resolved(None, archives).label == newest.label


def test_unknown_kernel_lists_near_ones(archives):
    with pytest.raises(KernelNotFound, match=r"nearest versions: .*6\.12\."):
        resolved("6.12.1000", archives)


def test_emulator_tarball_is_served(archives):
    path = archives.fetch_source_tarball(TARBALL, TARBALL_SIZE, TARBALL_SHA256, Silent())
    assert path.stat().st_size == TARBALL_SIZE
