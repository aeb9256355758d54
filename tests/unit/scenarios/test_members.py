"""Members of structures as fields of ops."""

from __future__ import annotations

import json

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.document import from_document
from kvmprobe.scenarios.op_fields import Members
from kvmprobe.scenarios.ops import decode, encode
from kvmprobe.scenarios.ops.sregs import SetSregs, SetSregs2
from kvmprobe.scenarios.ops.vcpu_state import SetVcpuEvents

START = ("open-kvm", "create-vm", "create-vcpu", "get-sregs")


def document(text):
    steps = [json.dumps({"op": {"op": name}}) for name in START]
    steps.append(f'{{"op": {{"op": "set-sregs", "cr4": 0, "members": {text}}}}}')
    head = '"schema": "kvmprobe-scenario/2", "id": "a.b", "needs": []'
    return f'{{{head}, "steps": [{", ".join(steps)}]}}'.encode()


def test_they_are_patched_at_their_offsets():
    # struct kvm_segment is 24 bytes, and its type is after base, limit and selector
    argument = SetSregs(0, (("ds_type", 3), ("cr2", 7))).argument()
    assert dict(argument.patches)[24 + 14] == b"\3"
    assert dict(argument.patches)[ioctls.KVM_SREGS.offset("cr2")] == (7).to_bytes(8, "little")


def test_an_event_is_one_byte_of_its_structure():
    assert dict(SetVcpuEvents(members=(("nmi_pending", 1),)).argument().patches)[13] == b"\1"


def test_json_has_an_object_of_them():
    op = SetSregs2(0x20, (("flags", 1), ("pdptrs2", 5)))
    assert encode(op)["members"] == {"flags": 1, "pdptrs2": 5}
    assert decode(encode(op)) == op


def test_they_are_in_the_structures_order_however_they_are_written():
    one, other = (
        Members(ioctls.KVM_REGS).load(v) for v in ({"rip": 1, "rax": 2}, {"rax": 2, "rip": 1})
    )
    assert one == other == (("rax", 2), ("rip", 1))


def test_their_text_has_names_and_values():
    assert SetSregs(0, (("cr2", 7),)).text == "KVM_SET_SREGS CR4=0x0, CR2=0x7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", r"\.members: expected an object, not a list"),
        ('{"cr9": 1}', r"\.members\.cr9: no such member; known: cs_base"),
        ('{"cr4": 1}', r"\.members\.cr4: no such member"),
        ('{"cr2": 1, "cr2": 1}', r"\.members\.cr2: is there twice"),
        ('{"cs_type": 256}', r"\.members\.cs_type: expected 0 to 255, not 256"),
    ],
)
def test_a_wrong_one_is_refused_with_its_path(text, message):
    with pytest.raises(ScenarioError, match=message):
        from_document(document(text))
