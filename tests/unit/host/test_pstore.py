"""What pstore kept of a kernel's end."""

import os

import pytest

from kvmprobe.host.pstore import last_panic

# The log's end is part 1 (fs/pstore/platform.c: pstore_dump); each part begins with a header.
EARLY = """\
Panic#2 Part2
<4>[   12.000001] ------------[ cut here ]------------
<4>[   12.000002] Oops: unexpected #NM exception: 0000 [#1] SMP NOPTI
<4>[   12.000003] RIP: 0010:restore_fpregs_from_fpstate+0x45/0x90
"""
LATE = """\
Panic#2 Part1
<4>[   12.000004] Call Trace:
<4>[   12.000005]  fpu_swap_kvm_fpstate+0x71/0x110
<0>[   12.000006] Kernel panic - not syncing: Fatal exception
"""
NOON = 1_800_000_000


@pytest.fixture
def folders(tmp_path):
    pstore, archive = tmp_path / "pstore", tmp_path / "archive"
    pstore.mkdir()
    archive.mkdir()
    return pstore, archive


def keep(folder, name, text, when=NOON):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    os.utime(folder / name, (when, when))


def test_a_panic_in_parts_is_put_together(folders):
    keep(folders[0], "dmesg-efi-1", LATE)
    keep(folders[0], "dmesg-efi-2", EARLY)
    found = last_panic(NOON, *folders)
    assert (found.headline, found.function, found.frames) == (
        "Oops: unexpected #NM exception: 0000 [#1] SMP NOPTI",
        "restore_fpregs_from_fpstate",
        ("fpu_swap_kvm_fpstate",),
    )


def test_what_systemd_moved_away_is_found(folders):
    keep(folders[1] / "178", "dmesg.txt", EARLY.partition("\n")[2] + LATE.partition("\n")[2])
    assert last_panic(NOON, *folders).function == "restore_fpregs_from_fpstate"


def test_what_was_kept_before_the_attempt_is_another_story(folders):
    keep(folders[0], "dmesg-efi-1", LATE, NOON - 1)
    assert last_panic(NOON, *folders) is None


def test_a_host_without_pstore_has_no_panic(tmp_path):
    assert last_panic(NOON, tmp_path / "none", tmp_path / "none") is None
