import shutil
import subprocess

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab.debfile import files, is_deb

CONTENT = {"boot/vmlinuz-1": b"kernel", "lib/modules/1/kernel/kvm.ko": b"m" * 5000}


def read(deb):
    return {name: content.read() for name, content in files(deb)}


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz", "zst"])
def test_files_are_read_with_each_compression(tmp_path, make_deb, compression):
    assert read(make_deb(tmp_path / "a.deb", CONTENT, compression)) == CONTENT


def test_reading_may_stop_early(tmp_path, make_deb):
    deb = make_deb(tmp_path / "a.deb", CONTENT)
    assert next(iter(files(deb)))[0] == "boot/vmlinuz-1"


def test_reading_zstd_may_stop_early(tmp_path, make_deb):
    deb = make_deb(tmp_path / "a.deb", CONTENT, "zst")
    assert next(iter(files(deb)))[0] == "boot/vmlinuz-1"


@pytest.mark.parametrize("kept", [30, 100, 300])
def test_truncated_package_is_named(tmp_path, make_deb, kept):
    deb = make_deb(tmp_path / "cut.deb", CONTENT)
    deb.write_bytes(deb.read_bytes()[:kept])
    with pytest.raises(UsageError, match=r"cut\.deb"):
        read(deb)


def test_something_else_is_no_package(tmp_path):
    (tmp_path / "a.deb").write_bytes(b"PK\x03\x04")
    assert not is_deb(tmp_path / "a.deb")
    with pytest.raises(UsageError, match="not a Debian package"):
        read(tmp_path / "a.deb")


def test_damaged_ar_header_is_refused(tmp_path):
    (tmp_path / "a.deb").write_bytes(b"!<arch>\n" + b"z" * 200)
    with pytest.raises(UsageError, match=r"a\.deb"):
        read(tmp_path / "a.deb")


def test_package_made_by_dpkg_is_read(tmp_path):
    if not shutil.which("dpkg-deb"):
        pytest.skip("needs dpkg-deb")
    (tmp_path / "p/DEBIAN").mkdir(parents=True)
    control = "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: d\n"
    (tmp_path / "p/DEBIAN/control").write_text(control)
    (tmp_path / "p/file").write_text("x")
    subprocess.run(
        ["dpkg-deb", "--build", "p", "p.deb"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL
    )
    assert read(tmp_path / "p.deb") == {"file": b"x"}
