"""The archive is read back by a reader of its own, written after the kernel's buffer-format.rst."""

import os
import stat

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab.initramfs import FileTree, Mode, Payload, build


def read(archive):
    entries, at = {}, 0
    while at < len(archive):
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        at = (at + 110 + name_size + 3) & ~3
        if name != "TRAILER!!!":
            assert name not in entries or stat.S_ISDIR(fields[1])
            entries[name] = (fields[1], archive[at : at + size], fields[5])
        at = (at + size + 3) & ~3
    return entries


def test_files_lie_at_their_own_path_with_their_mode_and_time(tmp_path):
    file = tmp_path / "a" / "program"
    file.parent.mkdir()
    file.write_bytes(b"content")
    file.chmod(0o750)
    os.utime(file, (1_700_000_000.9, 1_700_000_000.9))
    tree = FileTree()
    tree.add(file)
    entries = read(tree.archive())
    assert entries[str(file)[1:]] == (stat.S_IFREG | 0o750, b"content", 1_700_000_000)
    assert stat.S_ISDIR(entries[str(file.parent)[1:]][0])


def test_links_on_the_way_are_taken_over(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "lib.so.1.2").write_bytes(b"library")
    (tmp_path / "real" / "lib.so.1").symlink_to("lib.so.1.2")
    (tmp_path / "link").symlink_to("real")
    tree = FileTree()
    tree.add(tmp_path / "link" / "lib.so.1")
    entries = read(tree.archive())
    base = str(tmp_path)[1:]
    assert entries[f"{base}/link"][:2] == (stat.S_IFLNK | 0o777, b"real")
    assert entries[f"{base}/real/lib.so.1"][1] == b"lib.so.1.2"
    assert entries[f"{base}/real/lib.so.1.2"][1] == b"library"
    assert f"{base}/link/lib.so.1" not in entries


def test_a_directory_comes_whole_and_at_another_place_if_asked(tmp_path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "file").write_bytes(b"1")
    (tmp_path / "data" / "up").symlink_to("../nowhere")
    tree = FileTree()
    tree.add_at(tmp_path / "data", "/opt/data")
    entries = read(tree.archive())
    assert entries["opt/data/sub/file"][1] == b"1"
    assert entries["opt/data/up"][1] == b"../nowhere"


def test_the_same_files_give_the_same_bytes(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).write_bytes(name.encode())
    first, second = FileTree(), FileTree()
    for name in ("a", "b"):
        first.add(tmp_path / name)
    for name in ("b", "a"):
        second.add(tmp_path / name)
    assert first.archive() == second.archive()


@pytest.mark.parametrize("guest", ["/proc/version", "/dev/null", "/lab/mode"])
def test_what_the_guest_mounts_over_is_refused(tmp_path, guest):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is reserved in the guest"):
        FileTree().add_at(tmp_path / "file", guest)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="absent"):
        FileTree().add(tmp_path / "absent")


def test_a_loop_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match="a"):
        FileTree().add(tmp_path / "a")


def test_init_finds_what_it_reads(tmp_path):
    module = tmp_path / "kvm.ko"
    module.write_bytes(b"module")
    payload = Payload(FileTree(), ("/bin/true", "x y"), Mode.EXEC, {"A": "1", "B": ""})
    entries = read(build(payload, [module], b"init"))
    assert entries["init"][:2] == (stat.S_IFREG | 0o755, b"init")
    assert entries["lab/mode"][1] == b"exec"
    assert entries["lab/command"][1] == b"/bin/true\0x y\0"
    assert entries["lab/environ"][1] == b"A=1\0B=\0"
    assert entries["lab/modules.list"][1] == b"/lab/modules/kvm.ko\n"
    assert entries["lab/modules/kvm.ko"][1] == b"module"
    assert stat.S_ISCHR(entries["dev/console"][0])


def test_init_finds_where_to_mount_the_disk_and_with_which_drivers(tmp_path):
    (tmp_path / "ext4.ko").write_bytes(b"driver")
    payload = Payload(FileTree(), ("/bin/true",), Mode.EXEC, mount_point="/mnt/disk")
    entries = read(build(payload, [], b"init", [tmp_path / "ext4.ko"]))
    assert entries["lab/mount-point"][1] == b"/mnt/disk"
    assert entries["lab/disk.list"][1] == b"/lab/disk/ext4.ko\n"
    assert entries["lab/disk/ext4.ko"][1] == b"driver"
    assert stat.S_ISDIR(entries["mnt/disk"][0])


def test_without_a_disk_its_drivers_stay_out(tmp_path):
    (tmp_path / "ext4.ko").write_bytes(b"driver")
    payload = Payload(FileTree(), ("/bin/true",), Mode.EXEC)
    entries = read(build(payload, [], b"init", [tmp_path / "ext4.ko"]))
    assert not [name for name in entries if "disk" in name or "mount" in name]


def test_a_disk_may_not_hide_files():
    tree = FileTree()
    tree.put("/disk/file", b"")
    payload = Payload(tree, ("/bin/true",), Mode.EXEC, mount_point="/disk")
    with pytest.raises(UsageError, match="/disk would hide"):
        build(payload, [], b"init")
