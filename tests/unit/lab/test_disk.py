import fcntl
import os
import stat
import struct

import pytest

from kvmprobe.errors import LabError, MissingTools, UsageError
from kvmprobe.lab.disk import Disk

# Linux Documentation/filesystems/ext4/super.rst: the super block is at byte 1024.
SUPER = 1024
HAS_JOURNAL = 0x4


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    with Disk(path, size_mib=16).opened():
        pass
    return path


def super_block(path, offset, layout):
    return struct.unpack_from(layout, path.read_bytes(), SUPER + offset)[0]


def test_a_file_is_mounted_at_the_usual_place_unless_another_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "with:/colon").parent.mkdir()
    (tmp_path / "with:/colon").touch()
    assert Disk.parse("new.img", None).mount_point == "/disk"
    assert Disk.parse("new.img:/mnt/x/", 64).mount_point == "/mnt/x"
    assert Disk.parse("with:/colon", None).path.name == "colon"


@pytest.mark.parametrize("text", ["image:relative", "image:/", "image:/..", "image:"])
def test_places_that_cannot_be_meant_are_refused(text):
    with pytest.raises(UsageError, match="mount point"):
        Disk.parse(text, None)


def test_a_disk_too_small_for_a_journal_is_refused():
    with pytest.raises(UsageError, match="16 MiB"):
        Disk.parse("image", 4)


def test_a_new_disk_has_the_size_and_a_journal(image):
    assert image.stat().st_size == 16 << 20
    assert super_block(image, 0x38, "<H") == 0xEF53
    assert super_block(image, 0x5C, "<I") & HAS_JOURNAL


def test_a_new_disk_can_be_read_by_others_as_new_files_can(image, tmp_path):
    (tmp_path / "usual").touch()
    assert stat.S_IMODE(image.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_nothing_but_the_disk_is_left(image):
    assert list(image.parent.iterdir()) == [image]


def test_a_disk_that_is_there_is_taken_as_it_is(image):
    before = image.read_bytes()
    with Disk(image, size_mib=32).opened():
        pass
    assert image.read_bytes() == before


def test_a_disk_has_one_user_at_a_time(image):
    with (
        Disk(image).opened(),
        pytest.raises(UsageError, match="another emulated host"),
        Disk(image).opened(),
    ):
        pass
    with Disk(image).opened() as descriptor:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def test_a_disk_is_not_made_unless_its_size_is_said(tmp_path):
    with pytest.raises(UsageError, match="--disk-size"), Disk(tmp_path / "absent").opened():
        pass


def test_another_file_system_is_refused(tmp_path):
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    with pytest.raises(UsageError, match="not an ext4"), Disk(tmp_path / "zeros").opened():
        pass


def test_a_size_that_the_emulated_disk_cannot_have_is_refused(image):
    os.truncate(image, (16 << 20) + 512)
    with pytest.raises(UsageError, match="multiple of 262144"), Disk(image).opened():
        pass


def test_a_directory_that_is_not_there_is_named(tmp_path):
    disk = Disk(tmp_path / "absent" / "image", size_mib=16)
    with pytest.raises(UsageError, match="absent/image: No such file"), disk.opened():
        pass


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("kvmprobe.lab.disk._SYSTEM_PROGRAMS", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingTools, match="e2fsprogs"), Disk(tmp_path / "x", "/d", 16).opened():
        pass


def test_errors_of_mke2fs_are_reported(tmp_path, monkeypatch):
    tool = tmp_path / "mke2fs"
    tool.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(LabError, match="no room"), Disk(tmp_path / "x", "/d", 16).opened():
        pass
    assert not (tmp_path / "x").exists()
