"""Settings changed for a run and restored, on a made-up /proc/sys."""

import json
import signal

import pytest

from kvmprobe.errors import Unavailable, UsageError
from kvmprobe.host.arming import Armed, armed, disarm, unrestored
from kvmprobe.host.settings import Change, sensible, settings_of
from tests.support.host_tree import HostTree

BOOT_ID = "/proc/sys/kernel/random/boot_id"
PANIC, OOPS = "kernel.panic", "kernel.panic_on_oops"


class Host(HostTree):
    """A tree with two settings, a state file, and what was reported."""

    def __init__(self, root):
        super().__init__(root)
        self.state = root / "run" / "armed.json"
        self.reported = []
        self.put(BOOT_ID, "boot-1\n")
        self.set(PANIC, 0)
        self.set(OOPS, 0)

    def set(self, name, value):
        self.put(f"/proc/sys/{name.replace('.', '/')}", f"{value}\n")

    def get(self, name):
        return self.files.number(f"/proc/sys/{name.replace('.', '/')}")

    def armed(self, **wanted):
        wanted = {f"kernel.{name}": value for name, value in wanted.items()} or None
        return armed(wanted, self.reported.append, self.state, self.files)

    def disarm(self):
        return disarm(self.reported.append, self.state, self.files)

    def leave(self, *changes, boot_id="boot-1"):
        """Be killed while armed."""
        self.state.parent.mkdir(exist_ok=True)
        changes = [{"name": n, "before": b, "after": a} for n, b, a in changes]
        self.state.write_text(json.dumps({"pid": 7, "boot_id": boot_id, "changes": changes}))
        for change in changes:
            self.set(change["name"], change["after"])


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_settings_are_changed_for_the_run_and_restored_after_it(host):
    with host.armed(panic=10, panic_on_oops=1) as changes:
        assert (host.get(PANIC), host.get(OOPS)) == (10, 1)
        assert changes == (Change(PANIC, 0, 10), Change(OOPS, 0, 1))
    assert (host.get(PANIC), host.get(OOPS), host.state.exists()) == (0, 0, False)


def test_each_change_and_each_restoration_is_reported(host):
    with host.armed(panic=10):
        assert host.reported == ["armed: kernel.panic=10 (was 0)"]
    assert host.reported[1:] == ["restored: kernel.panic=0"]


@pytest.mark.parametrize("end", [ValueError, KeyboardInterrupt, SystemExit])
def test_settings_are_restored_however_the_run_ends(host, end):
    with pytest.raises(end), host.armed(panic=10):
        raise end
    assert (host.get(PANIC), host.state.exists()) == (0, False)


def test_a_run_that_does_not_ask_changes_nothing(host):
    with host.armed() as changes:
        assert (changes, host.get(PANIC), host.state.exists()) == ((), 0, False)


def test_a_setting_that_is_right_already_is_left_alone(host):
    host.set(PANIC, 10)
    with host.armed(panic=10) as changes:
        assert changes == ()
    assert (host.get(PANIC), host.reported) == (10, [])


def test_what_was_stands_on_disk_before_anything_is_changed(host):
    with host.armed(panic=10):
        content = json.loads(host.state.read_text())
    assert content["changes"] == [{"name": PANIC, "before": 0, "after": 10}]
    assert content["boot_id"] == "boot-1"


def test_what_a_killed_run_left_is_restored_by_the_next_one(host):
    host.leave((PANIC, 0, 10))
    with host.armed():
        assert host.get(PANIC) == 0
    assert (host.reported, host.state.exists()) == (["restored: kernel.panic=0"], False)


def test_the_next_run_restores_before_it_arms(host):
    # Otherwise the value of the killed run would be recorded as the previous one.
    host.leave((PANIC, 0, 10))
    with host.armed(panic=20):
        assert host.get(PANIC) == 20
    assert host.get(PANIC) == 0


def test_what_a_killed_run_left_is_restored_on_demand(host):
    host.leave((PANIC, 0, 10), (OOPS, 0, 1))
    assert host.disarm() == (Change(PANIC, 0, 10), Change(OOPS, 0, 1))
    assert (host.get(PANIC), host.get(OOPS)) == (0, 0)


def test_a_sysctl_that_another_process_has_set_is_not_restored(host):
    host.leave((PANIC, 0, 10))
    host.set(PANIC, 60)
    host.disarm()
    assert (host.get(PANIC), "not restored: kernel.panic=60" in host.reported[0]) == (60, True)


def test_a_reboot_has_restored_by_itself(host):
    host.leave((PANIC, 0, 10), boot_id="boot-0")
    assert host.disarm() == ()
    # The new boot's own value, which happens to be the same.
    assert (host.get(PANIC), host.reported) == (10, [])


def test_a_run_after_a_reboot_takes_the_new_boots_values_for_the_hosts_own(host):
    host.leave((PANIC, 0, 10), boot_id="boot-0")
    host.set(PANIC, 5)
    with host.armed(panic=20):
        assert host.get(PANIC) == 20
    assert host.get(PANIC) == 5


@pytest.mark.parametrize(
    "content", ["", "{", '{"pid": 1}', "[]", '{"pid":1,"boot_id":"boot-1","changes":[{}]}']
)
def test_an_incomplete_state_file_has_no_changes(host, content):
    host.state.parent.mkdir()
    host.state.write_text(content)
    assert host.disarm() == ()


def test_a_second_armed_run_is_refused_while_the_first_goes_on(host):
    with host.armed(panic=10):
        with pytest.raises(Unavailable, match="another kvmprobe") as refused, host.armed(panic=20):
            pass
        assert (refused.value.code, host.get(PANIC)) == ("busy", 10)


def test_a_run_that_goes_on_is_not_disarmed_by_another(host):
    with host.armed(panic=10):
        assert (unrestored(host.state, host.files), host.disarm()) == (None, ())
        with host.armed():
            assert host.get(PANIC) == 10


def test_a_killed_runs_settings_can_be_asked_for(host):
    host.leave((PANIC, 0, 10))
    assert unrestored(host.state, host.files) == Armed(7, "boot-1", (Change(PANIC, 0, 10),))


def test_a_setting_that_the_kernel_does_not_have_is_refused_before_any_change(host):
    with (
        pytest.raises(UsageError, match="hardlockup_panic"),
        host.armed(panic=10, hardlockup_panic=1),
    ):
        pass
    assert (host.get(PANIC), host.reported, host.state.exists()) == (0, [], False)


def test_signals_that_come_during_the_restoration_wait_for_its_end(host):
    def report(line):
        if line.startswith("restored"):
            signal.raise_signal(signal.SIGINT)

    wanted = {PANIC: 10, OOPS: 1}
    with pytest.raises(KeyboardInterrupt), armed(wanted, report, host.state, host.files):
        pass
    assert (host.get(PANIC), host.get(OOPS), host.state.exists()) == (0, 0, False)


def test_the_sensible_settings_let_a_host_in_trouble_die_and_come_back(host):
    host.set("kernel.softlockup_panic", 0)
    # This kernel has no kernel.hung_task_panic.
    assert sensible(host.files) == {PANIC: 10, OOPS: 1, "kernel.softlockup_panic": 1}


def test_a_host_that_already_comes_back_keeps_its_own_time(host):
    host.set(PANIC, -1)
    assert PANIC not in sensible(host.files)


def test_settings_are_read_with_and_without_their_prefix():
    assert settings_of("panic=-1,kernel.sysrq=1") == {PANIC: -1, "kernel.sysrq": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vm.swappiness=1", "vm.swappiness"),
        ("panic", "the value of kernel.panic must be a number"),
        ("panic=soon", "the value of kernel.panic must be a number"),
        ("", "valid: kernel.panic"),
        ("../panic=1", "unknown sysctl"),
    ],
)
def test_an_invalid_setting_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        settings_of(text)
