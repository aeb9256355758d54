"""The scenario that replays attached parts."""

import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.numbers import KvmCap
from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.scenarios.attached.parts import Leaves, Sregs, Template, XsaveImage
from kvmprobe.scenarios.attached.replaying import replaying
from kvmprobe.scenarios.catalog.literal import sregs_bytes
from kvmprobe.scenarios.document import from_document, to_document
from kvmprobe.xstate.cpuid import CpuidEntry

LEAVES = Leaves((CpuidEntry(0xD, 0, 1, 3, 0, 0, 0),))
TILES = Leaves((CpuidEntry(0xD, 0, 1, 0x60003, 0, 0, 0),))
IMAGE = XsaveImage(bytes(4096))
RESET = Sregs(sregs_bytes(ioctls.KVM_SREGS, {"cr0": 0x6000_0010, "apic_base": 0xFEE0_0900}))
RESET2 = Sregs(sregs_bytes(ioctls.KVM_SREGS2, {"cr0": 0x6000_0010, "apic_base": 0xFEE0_0900}))


def ops(**parts):
    return [step.op.name for step in replaying("attached.x", parts).steps]


def test_parts_come_in_the_order_of_a_restore():
    names = ops(image=IMAGE, sregs=RESET, leaves=LEAVES)
    assert names[-3:] == ["set-cpuid2-entries", "set-sregs-literal", "set-xsave-literal"]


def test_the_guest_runs_unless_sregs_say_where():
    assert ops(image=IMAGE)[-1] == "run-until-halt"
    assert ops(image=IMAGE, sregs=RESET)[-1] == "set-xsave-literal"


def test_the_size_of_sregs_says_which_ioctl():
    assert ops(sregs=RESET2)[-1] == "set-sregs2-literal"


def test_a_table_with_tiles_asks_for_permission():
    assert ops(leaves=TILES)[0] == "req-guest-perm"
    assert "req-guest-perm" not in ops(leaves=LEAVES)


def test_a_template_sets_each_msr_by_a_call_of_its_own():
    template = Template((), ((0x277, 0x6), (0x10A, 0)), (KvmCap.XSAVE,))
    names = ops(template=template)
    assert names[-5:] == [
        "check-extension",
        "set-cpuid2-template",
        "set-msrs",
        "set-unknown-msr",
        "run-until-halt",
    ]


def test_two_files_with_the_same_are_refused():
    with pytest.raises(UsageError, match="b: gives CPUID, and so does a"):
        replaying("attached.x", {"a": LEAVES, "b": Template((), (), ())})


def test_what_the_model_does_not_cover_is_refused_with_its_path():
    other = Sregs(sregs_bytes(ioctls.KVM_SREGS, {"cr0": 0x10, "apic_base": 0}))
    with pytest.raises(ScenarioError, match=r"^\$\.steps\[4\]\.op: .*an APIC base other than"):
        replaying("attached.x", {"a": other})


def test_it_survives_as_a_document():
    scenario = replaying("attached.x", {"a": LEAVES, "b": RESET, "c": IMAGE})
    assert from_document(to_document(scenario).encode()) == scenario
