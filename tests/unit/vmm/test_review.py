"""The review of a recording: what is judged, for which kernel, and what is not."""

import json
from dataclasses import replace

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import Msr
from kvmprobe.abi.tables import MSRS
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.recordings.entries import spec_of
from kvmprobe.recordings.lines import ObjectKind, ObjectLine, PayloadLine, Runs
from kvmprobe.recordings.payloads import pack, unpack
from kvmprobe.vmm.findings import (
    Differs,
    ErrorIgnored,
    Expected,
    HostDies,
    Level,
    Lost,
    NotRestored,
    OrderMatters,
    Piece,
    PieceKind,
    ReadsOtherwise,
    Refused,
)
from kvmprobe.vmm.review import MOST_FINDINGS, Kernel, Review
from tests.support.hosts import AMX_HOST, AVX512_HOST
from tests.support.recorded_scenarios import recorded
from tests.support.recordings import call, recording, write
from tests.support.reviews import of_kind, reviewed

ORDER_THAT_LOSES = "restore.msrs-xcrs-xsave-cpuid.perm-granted.xfd-zero.bv-legacy"
O1_ORDER = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def changed(path, request, **members):
    """Rewrite the first call with a request."""
    lines = lines_of(path)
    line = next(one for one in lines if one.get("request") == request)
    line |= members
    return write(path, lines)


def test_a_result_that_the_model_does_not_expect_is_a_note(tmp_path):
    path = recorded("6.12.95", "vmm.kselftest.tiles", tmp_path / "r")
    review = reviewed(changed(path, ioctls.SET_XSAVE.number, result=-22))
    [found] = of_kind(Differs, review)
    assert (found.expected, found.recorded, found.level) == ((0,), -22, Level.NOTE)
    assert of_kind(ReadsOtherwise, review) == []


def test_a_value_that_the_model_does_not_expect_is_a_note(tmp_path):
    path = recorded("6.12.95", "vmm.kselftest.no-tiles", tmp_path / "r")
    lines = lines_of(path)
    reads = [one for one in lines if one.get("request") == ioctls.GET_XCRS.number]
    reads[-2]["got"] = reads[0]["got"]  # before KVM_SET_XCRS
    [found] = of_kind(ReadsOtherwise, reviewed(write(path, lines)))
    assert found.at.call == "KVM_GET_XCRS"


@pytest.mark.parametrize("size", [0, 2, 4, 10, 40, 4096])
def test_a_payload_that_was_read_in_part_is_not_judged(size, tmp_path):
    # FORMAT.md, "unread": a payload may be shorter than what the call moved.
    path = recorded("6.12.95", "vmm.qemu-full.tiles", tmp_path / "r")
    shorter: dict[str, str] = {}
    lines = []
    for line in lines_of(path):
        if line["type"] == "payload":
            cut = pack(unpack(PayloadLine(line["hash"], line["size"], line["data"]))[:size])
            shorter[line["hash"]] = cut.hash
            if list(shorter.values()).count(cut.hash) > 1:
                continue
            line |= {"hash": cut.hash, "size": cut.size, "data": cut.data}
        names = {name: shorter[line[name]] for name in ("sent", "got") if name in line}
        lines.append(line | names)
    assert of_kind(ReadsOtherwise, reviewed(write(path, lines))) == []


@pytest.mark.parametrize(
    ("scenario", "call"),
    [
        ("vmm.firecracker.cet", ioctls.SET_MSRS),
        ("vmm.firecracker.cet", ioctls.SET_XCRS),
        ("vmm.firecracker.cet", None),
        (ORDER_THAT_LOSES, ioctls.SET_CPUID2),
        (ORDER_THAT_LOSES, None),
    ],
)
def test_without_payloads_no_value_is_said_to_be_lost(scenario, call, tmp_path):
    path = recorded("7.3.4", scenario, tmp_path / "r")
    assert of_kind((NotRestored, Lost), reviewed(path))
    lines = lines_of(path)
    for line in lines:
        if line["type"] == "call" and call in {None, spec_of(line["request"])}:
            for name in ("sent", "got"):
                line.pop(name, None)
    found = of_kind((NotRestored, Lost, ReadsOtherwise, Refused), reviewed(write(path, lines)))
    assert found == []


def test_an_errno_of_the_program_is_not_judged(tmp_path):
    path = recorded("6.12.95", "vmm.kselftest.tiles", tmp_path / "r")
    review = reviewed(changed(path, ioctls.SET_XSAVE.number, result=-14))
    assert of_kind(Differs, review) == []
    assert ("KVM_SET_XSAVE", -14) in {
        (one.failed.call, one.result) for one in of_kind(ErrorIgnored, review)
    }


def test_another_kernel_refuses_what_the_recorded_one_took(tmp_path):
    path = recorded("7.3.4", "vmm.kselftest.tiles", tmp_path / "r")
    host = replace(AVX512_HOST, behaviours=AVX512_HOST.behaviours)
    refused = {one.at.call for one in of_kind(Refused, reviewed(path, host, Kernel.OTHER))}
    assert {"KVM_SET_XCRS", "KVM_SET_XSAVE"} <= refused


def test_the_host_dies_on_a_kernel_with_the_defect(tmp_path):
    path = recorded("7.3.4", O1_ORDER, tmp_path / "r")
    fixed = AMX_HOST.without_defects
    broken = replace(fixed, behaviours=fixed.behaviours | {Behaviour.XFD_WRITE_KEEPS_XSTATE_BV})
    levels = {
        name: [one.level for one in of_kind(HostDies, reviewed(path, host, Kernel.OTHER))]
        for name, host in (("fixed", fixed), ("broken", broken))
    }
    assert levels == {"fixed": [Level.WARNING], "broken": [Level.ERROR]}


def test_after_the_guest_ran_its_state_is_not_judged(tmp_path):
    review = reviewed(recorded("7.3.4", "vmm.kselftest.tiles", tmp_path / "r"))
    assert review.not_judged["KVM_GET_XSAVE2", "the guest has run, so its state is not known"]


def test_counted_runs_enter_the_guest(tmp_path):
    path = tmp_path / "r"
    with recording(path) as writer:
        writer.write(call(1, result=-22, sent=writer.payload(bytes(4096))))
        writer.write(Runs(3, "vcpu0", 7))
    [found] = of_kind(ErrorIgnored, reviewed(path))
    assert found.result == -22


def test_no_run_was_counted(tmp_path):
    path = tmp_path / "r"
    with recording(path) as writer:
        writer.write(call(1, result=-22, sent=writer.payload(bytes(4096))))
        writer.write(Runs(3, "vcpu0", 0))
    assert of_kind(ErrorIgnored, reviewed(path)) == []


def test_a_repeated_call_makes_up_for_the_error(tmp_path):
    path = tmp_path / "r"
    with recording(path) as writer:
        sent = writer.payload(bytes(4096))
        writer.write(call(1, result=-22, sent=sent))
        writer.write(call(3, sent=sent))
        writer.write(Runs(5, "vcpu0", 1))
    assert of_kind(ErrorIgnored, reviewed(path)) == []


def test_msrs_after_the_refused_one_are_named(tmp_path):
    path = tmp_path / "r"
    with recording(path) as writer:
        sent = writer.payload(MSRS.pack([(Msr.IA32_PAT, 0), (0x1234, 0), (Msr.IA32_XSS, 0)]))
        writer.write(call(1, ioctls.SET_MSRS.number, result=1, sent=sent))
        again = writer.payload(MSRS.pack([(Msr.IA32_XSS, 0)]))
        writer.write(call(3, ioctls.SET_MSRS.number, result=1, sent=again))
        writer.write(Runs(5, "vcpu0", 1))
    [found] = of_kind(ErrorIgnored, reviewed(path))
    assert (found.result, found.msrs) == (1, (0x1234,))


@pytest.mark.parametrize("restored", [True, False])
def test_what_another_vm_had_is_missing(restored, tmp_path):
    path, msrs = tmp_path / "r", MSRS.pack([(Msr.IA32_XSS, 0x800)])
    with recording(path) as writer:
        writer.write(ObjectLine("vcpu9", ObjectKind.VCPU, "", of=None, number=9))
        content = writer.payload(msrs)
        saved = call(1, ioctls.GET_MSRS.number, result=1, sent=content, got=content)
        writer.write(replace(saved, on="vcpu9"))
        writer.write(ObjectLine("vm1", ObjectKind.VM, ""))
        writer.write(ObjectLine("vcpu1", ObjectKind.VCPU, "", of="vm1", number=0))
        image = call(3, sent=writer.payload(bytes(4096)))
        writer.write(replace(image, on="vcpu1"))
        if restored:
            content = writer.payload(msrs)
            xss = call(5, ioctls.SET_MSRS.number, result=1, sent=content)
            writer.write(replace(xss, on="vcpu1"))
        writer.write(Runs(7, "vcpu1", 1))
    found = [(one.pieces, one.why) for one in of_kind(NotRestored, reviewed(path))]
    xss = Piece(PieceKind.MSR, Msr.IA32_XSS)
    assert found == ([] if restored else [((xss,), Expected.SAVED)])


def test_the_other_order_of_two_calls_is_refused(tmp_path):
    review = reviewed(recorded("7.3.4", "vmm.kselftest.tiles", tmp_path / "r"))
    [found] = of_kind(OrderMatters, review)
    assert (found.first.call, found.second.call) == ("KVM_SET_CPUID2", "KVM_SET_SREGS")
    assert found.refused == found.second


def test_a_program_that_was_executed_has_no_permission(tmp_path):
    path = recorded("7.3.4", "vmm.kselftest.tiles", tmp_path / "r")
    lines = lines_of(path)
    last = max(i for i, one in enumerate(lines) if one["type"] == "permission")
    order = lines[last]["order"][1] + 1
    after = {"type": "process", "order": order, "event": "exec", "process": 1, "pid": 100}
    lines.insert(last + 1, {**after, "parent": 0, "program": "/usr/bin/other"})
    for line in lines[last + 2 :]:
        if "process" in line:
            line["process"] = 1
    shifted = write(path, lines)
    # The kernel took the table; one that had executed another program would not have.
    assert "KVM_SET_CPUID2" in {one.at.call for one in of_kind(Differs, reviewed(shifted))}


def test_findings_are_bounded():
    review = Review()
    review.add([None] * (MOST_FINDINGS + 3))
    assert (len(review.findings), review.left_out) == (MOST_FINDINGS, 3)
