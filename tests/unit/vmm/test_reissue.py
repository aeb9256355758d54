"""Which of a recording's calls a replay makes, and how."""

from dataclasses import replace

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.ioctls.as_recorded import AS_RECORDED
from kvmprobe.errors import RecordingError
from kvmprobe.recordings.lines import Call, Permission, Run
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Immediate,
    Ioctl,
    Literal,
    MapMemory,
    OpenKvm,
    Output,
    RunVcpu,
)
from kvmprobe.vmm import reissue as module
from kvmprobe.vmm.reissue import ReadBack, reissue
from tests.support.replays import qemu


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return qemu(tmp_path_factory.mktemp("qemu"))


@pytest.fixture(scope="module")
def made(recording):
    host, entries = recording
    return reissue(entries, host, ReadBack.NEVER)


def of_kind(kind, made):
    return [call for call in made.calls if isinstance(call, kind)]


def ioctls_of(spec, made):
    return [call for call in of_kind(Ioctl, made) if call.number == spec.number]


def test_the_device_is_opened_once(made):
    assert of_kind(OpenKvm, made) == [OpenKvm("kvm0")]
    assert made.calls[0] == OpenKvm("kvm0")


def test_what_a_call_creates_has_the_name_of_the_object_that_was_used(made):
    [vm], [vcpu] = ioctls_of(ioctls.CREATE_VM, made), ioctls_of(ioctls.CREATE_VCPU, made)
    assert (vm.on, vm.binds, vcpu.on, vcpu.binds) == ("kvm0", "vm0", "vm0", "vcpu0")


def test_a_request_for_permission_has_its_argument(made):
    # asm/prctl.h: ARCH_REQ_XCOMP_GUEST_PERM; XTILE_DATA is component 18.
    assert of_kind(ArchPrctl, made) == [ArchPrctl(0x1025, Immediate(18))]


def test_each_slot_gets_a_page(made):
    maps = of_kind(MapMemory, made)
    assert maps
    assert {call.content for call in maps} == {bytes(4096)}
    emptied = ioctls_of(ioctls.SET_USER_MEMORY_REGION, made)
    sizes = {call.argument.content[16:24] for call in emptied}
    assert sizes == {bytes(8)}


def test_each_run_exits_at_once(made):
    assert {call.immediate_exit for call in of_kind(RunVcpu, made)} == {1}


def test_calls_that_need_files_are_left_out(made):
    why = "a file of the program is not in a recording"
    assert made.left_out["KVM_IOEVENTFD", why] == 14


def test_an_image_is_as_large_as_the_largest_of_the_host(recording, made):
    host, entries = recording
    small = [
        replace(one, sent=one.sent[:4096]) if one.spec == ioctls.SET_XSAVE else one
        for one in entries
    ]
    calls = ioctls_of(ioctls.SET_XSAVE, reissue(small, host, ReadBack.NEVER))
    sizes = [len(call.argument.content) for call in calls]
    assert sizes == [11008] * 4


def test_the_kernel_has_room_for_the_largest_image(made):
    rooms = {call.argument.size for call in ioctls_of(ioctls.GET_XSAVE2, made)}
    assert rooms == {11008}


def test_a_call_that_only_recordings_have_is_made_as_it_was(made):
    # KVM_SET_IRQCHIP is _IOR, although the kernel reads.
    chips = [one for one in AS_RECORDED if one.name == "KVM_SET_IRQCHIP"]
    calls = ioctls_of(chips[0], made)
    assert {(type(call.argument), len(call.argument.content)) for call in calls} == {(Literal, 520)}


def test_calls_of_another_process_are_left_out(recording):
    host, entries = recording
    last = max(i for i, one in enumerate(entries) if one.spec == ioctls.SET_XSAVE)
    foreign = replace(entries[last], line=replace(entries[last].line, process=1))
    made = reissue([*entries[:last], foreign], host, ReadBack.NEVER)
    assert made.left_out["KVM_SET_XSAVE", "another process made it"] == 1


def test_without_a_vcpu_there_is_nothing_to_replay(recording):
    host, entries = recording
    none = [one for one in entries if one.spec != ioctls.CREATE_VCPU]
    with pytest.raises(RecordingError, match="no vCPU is created in it"):
        reissue(none, host, ReadBack.NEVER)


def test_more_vcpus_than_the_executor_has_places_for_are_refused(recording, monkeypatch):
    host, entries = recording
    monkeypatch.setattr(module, "MOST_DESCRIPTORS", 2)
    with pytest.raises(RecordingError, match="2 VMs and vCPUs; a replay can have 1"):
        reissue(entries, host, ReadBack.NEVER)


def test_calls_beyond_the_most_are_left_out(recording, monkeypatch):
    host, entries = recording
    monkeypatch.setattr(module, "MOST_CALLS", 100)
    made = reissue(entries, host, ReadBack.NEVER)
    assert len(made.calls) == 100
    assert any(why == "a replay makes at most 100 calls" for _, why in made.left_out)


def test_calls_on_a_vm_whose_creation_was_not_recorded_are_left_out(recording):
    host, entries = recording
    others = [one for one in entries if one.spec != ioctls.CREATE_VM]
    made = reissue(others, host, ReadBack.NEVER)
    assert made.left_out["KVM_CREATE_VCPU", "the creation of its vm was not recorded"] == 1


def test_state_is_read_back_before_each_load(recording):
    host, entries = recording
    calls = reissue(entries, host, ReadBack.BEFORE_LOADS).calls
    before = [calls[at - 2 : at] for at, call in enumerate(calls) if isinstance(call, RunVcpu)]
    assert before
    for image, msrs in before:
        assert (image.number, msrs.number) == (ioctls.GET_XSAVE2.number, ioctls.GET_MSRS.number)


def test_every_call_is_issued_or_listed(recording, made):
    _, entries = recording
    calls = [one for one in entries if isinstance(one.line, Call | Run | Permission)]
    issued = [step for step in made.steps if step.entry and step.call]
    assert len(issued) + sum(made.left_out.values()) == len(calls)


def test_a_payload_that_was_not_recorded_is_a_reason(recording):
    host, entries = recording
    at = next(i for i, one in enumerate(entries) if one.spec == ioctls.SET_XSAVE)
    made = reissue([*entries[:at], replace(entries[at], sent=None)], host, ReadBack.NEVER)
    assert made.left_out["KVM_SET_XSAVE", "its payload was not recorded"] == 1


def test_a_read_has_a_buffer(made):
    reads = ioctls_of(ioctls.GET_REGS, made)
    assert {call.argument for call in reads} == {Output(ioctls.KVM_REGS.size)}


def test_what_is_left_out_afterwards_counts_as_not_issued(recording):
    host, entries = recording
    last = entries[-20:]
    made = reissue(entries[:-20], host, ReadBack.NEVER)
    before = sum(made.left_out.values())
    made.leave_out(last, "the replay stopped before")
    calls = [one for one in last if isinstance(one.line, Call | Run | Permission)]
    assert sum(made.left_out.values()) == before + len(calls) > before
