"""The -dbg package of a kernel: which one it is, and what is kept of it."""

import pytest

from kvmprobe.errors import NoDebugFiles
from kvmprobe.lab import debug_files
from kvmprobe.lab.archive import Archives
from kvmprobe.progress import Silent
from kvmprobe.results.record import Target

RELEASE = "7.3.4+deb13-cloud-amd64"
SOURCE = f"linux-image-{RELEASE} 7.3.4-1 (trixie)"
FILES = {
    f"usr/lib/debug/boot/vmlinux-{RELEASE}": b"the kernel",
    f"usr/lib/debug/lib/modules/{RELEASE}/kernel/arch/x86/kvm/kvm-intel.ko": b"kvm_intel",
    f"usr/lib/debug/lib/modules/{RELEASE}/kernel/arch/x86/kvm/kvm.ko": b"kvm",
    f"usr/lib/debug/lib/modules/{RELEASE}/kernel/fs/ext4/ext4.ko": b"other",
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(debug_files, "_FILES_BYTES", 0)


@pytest.fixture
def archives(cache, repository):
    return Archives(cache, (repository.source(),))


def ensure(archives, source=SOURCE):
    return debug_files.ensure(Target("lab", "7.3.4", source), archives, Silent())


@pytest.mark.parametrize(
    "source",
    [
        SOURCE,
        f"linux-image-unsigned-{RELEASE} 7.3.4-1 (trixie)",
        f"linux-image-{RELEASE}-unsigned 7.3.4-1 (trixie)",
        f"linux-binary-{RELEASE} + linux-modules-{RELEASE} 7.3.4-1 (trixie)",
    ],
)
def test_the_package_belongs_to_the_release_and_its_version(
    archives, repository, make_deb, tmp_path, source
):
    deb = make_deb(tmp_path / "k.deb", FILES)
    repository.add(deb, f"linux-image-{RELEASE}-dbg", "7.3.4-1")
    found = ensure(archives, source)
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "vmlinux": b"the kernel",
        "kvm": b"kvm",
        "kvm_intel": b"kvm_intel",
    }
    assert list(archives.cache.folder("debs").iterdir()) == []


def test_another_version_is_not_taken(archives, repository, make_deb, tmp_path):
    deb = make_deb(tmp_path / "k.deb", FILES)
    repository.add(deb, f"linux-image-{RELEASE}-dbg", "7.3.4-2")
    with pytest.raises(NoDebugFiles, match=r"no package linux-image-7\.3\.4.*-dbg 7\.3\.4-1"):
        ensure(archives)


def test_a_kernel_that_is_no_package_has_no_lines(archives):
    with pytest.raises(NoDebugFiles, match="is no package, but /boot/vmlinuz with modules"):
        ensure(archives, "/boot/vmlinuz with modules of /lib/modules/1")


def test_a_package_without_a_module_is_refused(archives, repository, make_deb, tmp_path):
    files = {name: content for name, content in FILES.items() if "intel" not in name}
    deb = make_deb(tmp_path / "k.deb", files)
    repository.add(deb, f"linux-image-{RELEASE}-dbg", "7.3.4-1")
    with pytest.raises(NoDebugFiles, match="has no file of kvm_intel"):
        ensure(archives)
