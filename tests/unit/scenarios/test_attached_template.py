"""CPU templates in JSON: what they change, and how a mistake is refused."""

import json

import pytest

from kvmprobe.abi.numbers import KvmCap
from kvmprobe.errors import ExitCode, ScenarioError
from kvmprobe.scenarios.attached.template import read_template
from kvmprobe.xstate.cpuid import Register

ONE_REGISTER = {
    "leaf": "0xd",
    "subleaf": "0x0",
    "flags": 1,
    "modifiers": [{"register": "eax", "bitmap": "0b" + "x" * 29 + "011"}],
}
MSR = {"addr": "0x10a", "bitmap": "0b" + "0" * 60 + "1010"}


def read(**members):
    return read_template(json.dumps(members).encode())


def refusal(content):
    with pytest.raises(ScenarioError) as caught:
        read_template(content if isinstance(content, bytes) else json.dumps(content).encode())
    assert caught.value.exit_code == ExitCode.USAGE
    return str(caught.value)


def changed(**members):
    return {"cpuid_modifiers": [{**ONE_REGISTER, **members}]}


def modifier(**members):
    return changed(modifiers=[{**ONE_REGISTER["modifiers"][0], **members}])


def test_a_bitmap_is_the_bits_that_change_and_their_value():
    assert read(cpuid_modifiers=[ONE_REGISTER]).changes == ((0xD, 0, 1, Register.EAX, 0b111, 0b11),)


def test_each_register_of_a_leaf_is_a_change():
    registers = [{"register": name, "bitmap": "0b1"} for name in ("eax", "ebx", "ecx", "edx")]
    template = read(cpuid_modifiers=[{**ONE_REGISTER, "modifiers": registers}])
    assert [change[3] for change in template.changes] == list(Register)


def test_bits_before_those_of_a_short_bitmap_stay():
    short = {**ONE_REGISTER, "modifiers": [{"register": "ecx", "bitmap": "0b01x"}]}
    assert read(cpuid_modifiers=[short]).changes[0][4:] == (0b110, 0b010)


@pytest.mark.parametrize(("text", "number"), [("0x1f", 31), ("31", 31), ("0b11111", 31)])
def test_a_leaf_is_a_number_in_a_string(text, number):
    assert read(**changed(leaf=text)).changes[0][0] == number


def test_an_msr_has_the_value_of_its_bitmap():
    assert read(msr_modifiers=[MSR]).msrs == ((0x10A, 0b1010),)


def test_an_msr_of_which_bits_stay_is_left_out_with_its_path():
    template = read(msr_modifiers=[MSR, {"addr": "0x48", "bitmap": "0b" + "x" * 63 + "1"}])
    assert template.msrs == ((0x10A, 0b1010),)
    assert [line.partition(": ")[0] for line in template.left_out] == ["$.msr_modifiers[1]"]


def test_required_capabilities_are_kept_and_removed_ones_are_not():
    template = read(kvm_capabilities=["55", "!56", "208", "!4000000000"])
    assert template.capabilities == (KvmCap.XSAVE, KvmCap.XSAVE2)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ([], "$: expected an object, found a list"),
        ({}, "$: expected at least one of"),
        ({"cpuid": []}, "$.cpuid: expected one of"),
        ({"reg_modifiers": []}, "$.reg_modifiers: expected a template for x86"),
        ({"vcpu_features": []}, "$.vcpu_features: expected a template for x86"),
        ({"cpuid_modifiers": {}}, "$.cpuid_modifiers: expected a list, found an object"),
        ({"cpuid_modifiers": [1]}, "$.cpuid_modifiers[0]: expected an object, found the number 1"),
        ({"cpuid_modifiers": [{}]}, "$.cpuid_modifiers[0]: expected the members leaf"),
        ({"cpuid_modifiers": [1] * 1025}, "$.cpuid_modifiers: expected at most 1024 items"),
        (changed(more=1), "$.cpuid_modifiers[0].more: expected one of"),
        (changed(leaf=13), "$.cpuid_modifiers[0].leaf: expected a number in a string"),
        (changed(leaf="0x100000000"), "$.cpuid_modifiers[0].leaf: expected at most 0xffffffff"),
        (changed(subleaf="-1"), "$.cpuid_modifiers[0].subleaf: expected a number in a string"),
        (changed(subleaf=None), "$.cpuid_modifiers[0].subleaf: expected a number in a string"),
        (changed(flags="1"), "$.cpuid_modifiers[0].flags: expected a number"),
        (changed(flags=True), "$.cpuid_modifiers[0].flags: expected a number"),
        (changed(flags=1 << 32), "$.cpuid_modifiers[0].flags: expected a number"),
        (changed(flags=1.0), "$.cpuid_modifiers[0].flags: expected a number"),
        (modifier(register="rax"), "$.cpuid_modifiers[0].modifiers[0].register: expected eax"),
        (modifier(register=[]), "$.cpuid_modifiers[0].modifiers[0].register: expected eax"),
        (modifier(bitmap="0b" + "0" * 33), "$.cpuid_modifiers[0].modifiers[0].bitmap: expected"),
        (modifier(bitmap="0b"), "$.cpuid_modifiers[0].modifiers[0].bitmap: expected"),
        (modifier(bitmap="0b2"), "$.cpuid_modifiers[0].modifiers[0].bitmap: expected"),
        (modifier(bitmap="0b_"), "$.cpuid_modifiers[0].modifiers[0].bitmap: expected"),
        (modifier(bitmap=1), "$.cpuid_modifiers[0].modifiers[0].bitmap: expected"),
        ({"msr_modifiers": [{"addr": "0x1"}]}, "$.msr_modifiers[0]: expected the members addr"),
        (
            {"msr_modifiers": [{**MSR, "addr": "0xc0000080", "bitmap": "0b1"}]},
            "$.msr_modifiers[0].addr: expected an MSR that can be set here",
        ),
        ({"kvm_capabilities": [55]}, "$.kvm_capabilities[0]: expected a number in a string"),
        ({"kvm_capabilities": ["!"]}, "$.kvm_capabilities[0]: expected a number in a string"),
        ({"kvm_capabilities": ["55", "1"]}, "$.kvm_capabilities[1]: expected a capability"),
    ],
)
def test_a_mistake_is_refused_with_its_path(content, place):
    assert refusal(content).startswith(place)


def test_a_member_that_is_there_twice_is_refused():
    assert refusal(b'{"msr_modifiers": [], "msr_modifiers": []}').startswith("$: expected")


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
def test_numbers_that_are_not_json_are_refused(number):
    assert "is not JSON" in refusal(b'{"cpuid_modifiers": [{"flags": ' + number + b"}]}")


def test_a_huge_number_is_refused():
    content = json.dumps(changed(flags=0)).replace('"flags": 0', '"flags": 1' + "0" * 5000)
    assert refusal(content.encode()).startswith("$.cpuid_modifiers[0].flags: expected")


def test_a_truncated_template_is_refused_with_the_line():
    content = json.dumps({"cpuid_modifiers": [ONE_REGISTER]}, indent=1).encode()
    assert refusal(content[:-3]).startswith("not JSON: line ")
