"""Ops with literal input, and their fields in documents."""

import base64

import pytest

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.calls import Immediate, LiteralAtPageEnd
from kvmprobe.scenarios.literal_fields import Bytes
from kvmprobe.scenarios.op_fields import Wrong
from kvmprobe.scenarios.ops.literal import SetCpuid2Template, SetXsaveLiteral, changed
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register

TABLE = CpuidTable((CpuidEntry(7, 0, 1, 0, 0xF0, 0, 0), CpuidEntry(7, 1, 1, 1, 0, 0, 0)))


def test_a_change_is_of_the_bits_that_it_names():
    after = changed(TABLE, ((7, 0, 1, Register.EBX, 0x3C, 0x04),))
    assert after.at(7, 0).ebx == 0xC4


def test_later_changes_see_earlier_ones():
    both = ((7, 1, 1, Register.EAX, 1, 0), (7, 1, 1, Register.EAX, 2, 2))
    assert changed(TABLE, both).at(7, 1).eax == 2


def test_the_flags_of_a_changed_entry_are_given():
    assert changed(TABLE, ((7, 1, 0, Register.EAX, 0, 0),)).entries[1].flags == 0


def test_a_change_of_an_absent_sub_leaf_changes_nothing():
    assert changed(TABLE, ((7, 2, 1, Register.EAX, 1, 1),)) == TABLE


def test_of_two_entries_for_a_sub_leaf_the_first_changes():
    twice = CpuidTable((TABLE.entries[0], TABLE.entries[0]))
    after = changed(twice, ((7, 0, 1, Register.EAX, 1, 1),))
    assert [entry.eax for entry in after.entries] == [1, 0]


def test_a_template_lowers_to_the_changed_table_of_the_host():
    host = sapphire_rapids()
    lowered = SetCpuid2Template(((0xD, 0, 1, Register.EAX, 0xFFFF_FFFF, 7),)).lower(host)
    assert CpuidTable.from_bytes(lowered.argument.content).xcr0 == 7


def test_an_image_ends_where_memory_ends():
    assert SetXsaveLiteral(b"abc").argument() == LiteralAtPageEnd(b"abc")
    assert SetXsaveLiteral(b"").argument() == Immediate(0)


def test_bytes_are_written_in_base64():
    kind = Bytes(0, 8)
    assert kind.load(kind.dump(b"\0\xff")) == b"\0\xff"
    assert kind.dump(b"\0\xff") == base64.b64encode(b"\0\xff").decode()


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "expected bytes in base64, not null"),
        (1, "expected bytes in base64, not the number 1"),
        (["AA=="], "expected bytes in base64, not a list"),
        ("AA=", "not base64: "),
        ("A\n==", "not base64: "),
        ("é===", "not base64: "),
        ("", "expected 2 to 4 bytes, not 0"),
        ("AA==", "expected 2 to 4 bytes, not 1"),
        ("A" * 8, "expected 2 to 4 bytes, not 6"),
        ("A" * 1000, "expected at most 4 bytes, not 750"),
    ],
)
def test_other_values_are_refused(value, what):
    with pytest.raises(Wrong) as caught:
        Bytes(2, 4).load(value)
    assert caught.value.what.startswith(what)


def test_an_exact_size_is_one_number():
    with pytest.raises(Wrong, match="expected 3 bytes, not 1"):
        Bytes(3, 3).load("AA==")
