"""QEMU on this host's /dev/kvm: recorded as it saves a guest and restores it, then judged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.recordings.lines import Call
from kvmprobe.vmm.findings import Level
from tests.conftest import REQUIRE
from tests.support.command import COMMAND
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
SECONDS = 120


def recorded(path, talk, *options):
    """Record QEMU while something talks to its monitor, and end it."""
    words = [*COMMAND, "trace", "-o", str(path), "--", QEMU, *GUEST, "-qmp", "stdio", *options]
    with subprocess.Popen(
        words, cwd=path.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as front:
        monitor = Monitor(front)
        monitor.ask("qmp_capabilities")
        talk(monitor)
        monitor.ask("quit")
        assert front.wait(SECONDS) == 0
    return path


class Monitor:
    """QEMU's monitor in JSON.

    :see: qemu: docs/interop/qmp-spec.rst
    """

    def __init__(self, front):
        self._front = front
        assert "QMP" in self._next()

    def _next(self):
        return json.loads(self._front.stdout.readline())

    def ask(self, command, **arguments):
        """Give a command; return its answer."""
        message = {"execute": command, "arguments": arguments}
        self._front.stdin.write(json.dumps(message) + "\n")
        self._front.stdin.flush()
        while "return" not in (answer := self._next()):
            assert "error" not in answer, answer
        return answer["return"]

    def wait_for_migration(self):
        """Return when the state was saved or restored."""
        end = time.monotonic() + SECONDS
        while self.ask("query-migrate").get("status") != "completed":
            assert time.monotonic() < end


def save(monitor):
    """Save the guest in the file ``state``."""
    monitor.ask("migrate", uri="exec:cat>state")
    monitor.wait_for_migration()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qemu")
    saved = recorded(folder / "save", save)
    restored = recorded(
        folder / "restore", Monitor.wait_for_migration, "-incoming", "exec:cat state"
    )
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
