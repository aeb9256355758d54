"""Recordings of real programs: QEMU 7.2.22 of Debian, in the emulated AMX host with 7.3.4.

``qemu-system-x86_64 -accel kvm -cpu host,arch-capabilities=off -m 64 -S`` was saved to a file by
``migrate``, and ``-incoming`` read it; the guest then ran.
"""

import lzma
from pathlib import Path

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.recordings.lines import Permission
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.vmm.review import Kernel
from tests.support.hosts import AMX_HOST
from tests.support.reviews import reviewed

FOLDER = Path(__file__).parents[2] / "recordings"
SAVE, RESTORE = "qemu-7.2-save-7.3.4", "qemu-7.2-restore-7.3.4"


@pytest.fixture
def unpacked(tmp_path):
    def unpack(name):
        path = tmp_path / name
        path.write_bytes(lzma.decompress((FOLDER / f"{name}.jsonl.xz").read_bytes()))
        return path

    return unpack


@pytest.mark.parametrize(("name", "judged"), [(SAVE, 23), (RESTORE, 28)])
def test_qemu_is_accused_of_nothing_and_the_model_agrees_with_the_kernel(name, judged, unpacked):
    review = reviewed(unpacked(name))
    assert (review.findings, review.judged) == ([], judged)


def test_nor_is_it_on_a_kernel_with_every_defect_that_panics(unpacked):
    path = unpacked(RESTORE)
    assert reviewed(path, AMX_HOST, Kernel.OTHER).findings == []


def test_qemu_asks_for_permission_and_restores_three_times(unpacked):
    with RecordingReader(unpacked(RESTORE)) as reader:
        entries = list(reader)
    assert any(isinstance(entry.line, Permission) for entry in entries)
    sizes = [len(entry.sent) for entry in entries if entry.spec == ioctls.SET_XSAVE]
    assert sizes == [11008] * 4  # and once more as the guest is continued
