import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab.kernel_release import Banner, is_kernel, read_banner


@pytest.fixture
def image(tmp_path, make_bzimage):
    def make(*arguments):
        (tmp_path / "bzImage").write_bytes(make_bzimage(*arguments))
        return tmp_path / "bzImage"

    return make


def test_debian_version_makes_the_label(image):
    path = image(
        "6.1.0-56-cloud-amd64", "(a@b) #1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)"
    )
    assert read_banner(path) == Banner("6.1.0-56-cloud-amd64", "6.1.192")


@pytest.mark.parametrize(
    ("release", "label"),
    [("6.18.0-rc3-g12ab+", "6.18.0-rc3"), ("6.12.1", "6.12.1"), ("odd", "odd")],
)
def test_own_build_is_labelled_by_its_release(image, release, label):
    assert read_banner(image(release)) == Banner(release, label)


def test_kernel_is_recognised(image, tmp_path):
    (tmp_path / "other").write_bytes(b"no kernel")
    assert is_kernel(image())
    assert not is_kernel(tmp_path / "other")


def test_vmlinux_gets_a_hint(tmp_path):
    (tmp_path / "vmlinux").write_bytes(b"\x7fELF" + bytes(2000))
    with pytest.raises(UsageError, match="bzImage instead"):
        read_banner(tmp_path / "vmlinux")


def test_something_else_is_no_kernel(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(UsageError, match="not an x86 kernel image"):
        read_banner(tmp_path / "text")


def test_image_without_version_text_is_refused(image):
    path = image()
    path.write_bytes(path.read_bytes()[:0x500])
    with pytest.raises(UsageError, match="no version text"):
        read_banner(path)
