"""The answers of a replay, compared with the recording and with the model."""

from dataclasses import replace

import pytest

from kvmprobe.abi.tables import XCRS
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.record import Crash
from kvmprobe.results.trace import End, Reply
from kvmprobe.vmm.findings import Level
from kvmprobe.vmm.replay_findings import (
    Cause,
    FailsHere,
    GivesOtherwise,
    HostDied,
    NotAsModelled,
    ReplayEnded,
    ReturnsOtherwise,
    StoppedBefore,
)
from kvmprobe.vmm.replayed import safe_part
from tests.support.recorded_scenarios import recorded
from tests.support.replays import Answers, entries_of, replay_of, with_result
from tests.support.reviews import of_kind

B1_ORDER = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
CRASH = Crash(0, None, "unexpected #NM exception", "exc_device_not_available", (), "report")


def above_notes(replay):
    return [one for one in replay.findings if one.level is not Level.NOTE]


@pytest.mark.parametrize(
    ("scenario", "kernel"),
    [
        ("vmm.kselftest.tiles", "7.3.4"),
        ("vmm.qemu-full.xfd-armed", "7.3.4"),
        ("vmm.firecracker.cet", "7.3.4"),
        ("vmm.qemu-full.no-tiles", "host"),
    ],
)
def test_the_kernel_that_was_recorded_answers_alike(scenario, kernel, tmp_path):
    replay = replay_of(scenario, kernel, Answers(kernel), tmp_path)
    assert above_notes(replay) == []
    assert of_kind(GivesOtherwise, replay) == of_kind(ReturnsOtherwise, replay) == []
    assert replay.replayed == replay.compared + sum(replay.not_compared.values())


def test_another_kernel_that_the_model_expects_to_answer_alike_is_not_accused(tmp_path):
    replay = replay_of("vmm.qemu-full.tiles", "7.3.4", Answers("6.12.95"), tmp_path)
    assert above_notes(replay) == []


def test_a_known_defect_of_the_kernel_is_named(tmp_path):
    # known_defects.toml: B1 is in 6.12.43, and fixed in 6.12.67.
    replay = replay_of(B1_ORDER, "6.12.95", Answers("6.12.43", end=End.GATED), tmp_path)
    [shown] = of_kind(NotAsModelled, replay)
    assert (shown.at.call, shown.defects) == ("KVM_GET_XSAVE2", ("B1",))
    read = next(one for one in of_kind(GivesOtherwise, replay) if one.at == shown.at)
    assert read.reason.cause is Cause.KERNEL
    assert read.reason.behaviours == (Behaviour.SET_XSAVE_KEEPS_XFD_ARMED.name,)


def test_a_replay_that_the_gate_ended_stopped_before_the_load(tmp_path):
    replay = replay_of(B1_ORDER, "6.12.95", Answers("6.12.43", end=End.GATED), tmp_path)
    [stopped] = of_kind(StoppedBefore, replay)
    assert stopped.at.call == "KVM_RUN"
    assert replay.not_replayed["KVM_RUN", "the replay ended before"] == 1


def test_a_host_that_died_is_an_error_with_the_defect(tmp_path):
    replay = replay_of(B1_ORDER, "6.12.95", Answers("6.12.43", end=End.LOST, crash=CRASH), tmp_path)
    [died] = of_kind(HostDied, replay)
    assert (died.at.call, died.defects, died.level) == ("KVM_RUN", ("B1",), Level.ERROR)


def test_a_replay_that_ended_otherwise_says_why(tmp_path):
    replay = replay_of(B1_ORDER, "6.12.95", Answers("6.12.43", end=End.TIMEOUT), tmp_path)
    [ended] = of_kind(ReplayEnded, replay)
    assert (ended.at.call, ended.why) == ("KVM_RUN", "timeout")


def test_an_answer_that_the_model_does_not_expect_is_a_warning(tmp_path):
    def wrong(name, reply):
        if name != "KVM_GET_XCRS":
            return reply
        # XCR0=1 before and after KVM_SET_XCRS.
        return Reply(reply.result, XCRS.pack([(0, 1)], 0).ljust(len(reply.output), b"\0"))

    replay = replay_of("vmm.kselftest.no-tiles", "7.3.4", Answers("7.3.4", change=wrong), tmp_path)
    found = of_kind(NotAsModelled, replay)
    assert found
    assert {(one.at.call, one.defects, one.level) for one in found} == {
        ("KVM_GET_XCRS", (), Level.WARNING)
    }
    read = of_kind(GivesOtherwise, replay)
    assert {one.reason.cause for one in read} == {Cause.UNEXPECTED}


def test_a_call_that_fails_here_alone_is_an_error(tmp_path):
    change = with_result("KVM_SET_XCRS", -22)
    replay = replay_of("vmm.kselftest.no-tiles", "7.3.4", Answers("7.3.4", change=change), tmp_path)
    [failed] = of_kind(FailsHere, replay)
    assert (failed.recorded, failed.observed, failed.reason.cause) == (0, -22, Cause.UNEXPECTED)
    [shown] = of_kind(NotAsModelled, replay)
    assert shown.at == failed.at


def test_what_follows_from_an_earlier_answer_is_not_blamed_on_the_kernel(tmp_path):
    # Without permission KVM_SET_CPUID2 with XTILE_DATA is EPERM, on the recorded kernel as well.
    def refused(name, reply):
        return replace(reply, result={"": -95, "KVM_SET_CPUID2": -1}.get(name, reply.result))

    replay = replay_of("vmm.kselftest.tiles", "7.3.4", Answers("7.3.4", change=refused), tmp_path)
    first = of_kind(FailsHere, replay)[1]
    assert (first.at.call, first.reason.cause) == ("KVM_SET_CPUID2", Cause.EARLIER)


def test_a_list_that_ends_at_an_msr_names_it(tmp_path):
    change = with_result("KVM_SET_MSRS", 0)
    replay = replay_of("vmm.qemu-full.no-tiles", "host", Answers("host", change=change), tmp_path)
    # The first one in the order's list, IA32_PAT (scenarios/presets: msrs).
    assert {one.msr for one in of_kind(FailsHere, replay)} == {0x277}


def test_what_comes_after_the_guest_ran_is_not_compared(tmp_path):
    replay = replay_of("vmm.kselftest.no-tiles", "7.3.4", Answers("7.3.4"), tmp_path)
    why = "the guest ran in the recording, and does not in a replay"
    assert replay.not_compared["KVM_RUN", why] == 1
    assert replay.not_compared["KVM_GET_XSAVE2", why] == 1


def test_on_a_real_host_a_replay_ends_before_the_first_fatal_call(tmp_path):
    host, entries = entries_of(recorded("6.12.95", B1_ORDER, tmp_path / "r"))
    suspected = frozenset({Behaviour.SET_XSAVE_KEEPS_XFD_ARMED})
    safe, stopped = safe_part(entries, host, suspected)
    assert (stopped.at.call, stopped.defects) == ("KVM_RUN", ("B1",))
    assert entries[len(safe)].number == stopped.at.line


def test_a_kernel_without_such_a_defect_gets_all_of_it(tmp_path):
    host, entries = entries_of(recorded("6.12.95", B1_ORDER, tmp_path / "r"))
    assert safe_part(entries, host, frozenset()) == (entries, None)
