"""QEMU on this host's /dev/kvm: recorded as it saves a guest and restores it, then judged."""

from __future__ import annotations

import os
import shutil

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.recordings.lines import Call
from kvmprobe.vmm.findings import Level
from tests.conftest import REQUIRE
from tests.support.command import COMMAND
from tests.support.qemu_monitor import Monitor, monitored
from tests.support.reviews import reviewed
from tests.support.traced import entries

QEMU = "qemu-system-x86_64"
MISSING = shutil.which(QEMU) is None and os.environ.get("KVMPROBE_TEST_KVM") != REQUIRE
pytestmark = [
    pytest.mark.kvm,
    pytest.mark.skipif(MISSING, reason=f"no {QEMU}; Debian: qemu-system-x86"),
]
# Some KVMs do not let QEMU set MSR_IA32_ARCH_CAPABILITIES as it wants.
GUEST = [
    "-accel",
    "kvm",
    "-cpu",
    "host,arch-capabilities=off",
    "-m",
    "32",
    "-display",
    "none",
    "-nodefaults",
    "-S",
]


def recorded(path, talk, *options):
    """Record QEMU while something talks to its monitor, and end it."""
    words = [*COMMAND, "trace", "-o", str(path), "--", QEMU, *GUEST, "-qmp", "stdio", *options]
    with monitored(words, path.parent) as monitor:
        talk(monitor)
    assert monitor.program.returncode == 0
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qemu")
    saved = recorded(folder / "save", Monitor.save)
    restored = recorded(folder / "restore", Monitor.restore, "-incoming", "defer")
    return saved, restored


def test_it_is_accused_of_nothing(recordings):
    found = [one for path in recordings for one in reviewed(path).findings]
    assert [one for one in found if one.level is not Level.NOTE] == []


def test_each_restore_of_the_fpu_state_is_judged(recordings):
    _, restored = recordings
    sets = [one for one in entries(restored, Call) if one.spec == ioctls.SET_XSAVE]
    # As it starts, after its reset, and from the file.
    assert len(sets) == 3
    review = reviewed(restored)
    assert not [call for call, _ in review.not_judged if call == ioctls.SET_XSAVE.name]
