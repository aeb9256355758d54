"""The file of a saved guest."""

import json

import jsonschema
import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.moves.guests import Use
from kvmprobe.moves.saved_guest import from_bytes, guest_schema, to_text
from kvmprobe.recordings.payloads import pack, unpack
from kvmprobe.results.codec import to_json
from tests.support.probed import profile_of
from tests.support.saved_guests import saved_guest


@pytest.fixture(scope="module")
def guest():
    return saved_guest(profile_of("7.3.4"), "qemu-full", Use.TILES)


@pytest.fixture
def document(guest):
    return json.loads(to_text(guest))


def refusal(document):
    with pytest.raises(ScenarioError) as refused:
        from_bytes(json.dumps(document).encode())
    return str(refused.value)


def packed(content):
    line = pack(content)
    return to_json(type(line), line)


def test_it_is_read_as_it_was_written(guest):
    assert from_bytes(to_text(guest).encode()) == guest


def test_it_fits_its_schema(document):
    jsonschema.validate(document, guest_schema())


def test_what_fits_no_schema_is_refused(document):
    document["more"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, guest_schema())
    assert refusal(document) == "$: unknown member 'more'"


@pytest.mark.parametrize("kept", [0, 1, 1000, 10_000])
def test_a_truncated_file_is_refused(guest, kept):
    with pytest.raises(ScenarioError, match="not JSON: line"):
        from_bytes(to_text(guest).encode()[:kept])


def test_damaged_bytes_are_refused(document):
    data = document["parts"]["xsave"]["data"]
    middle = len(data) // 2
    document["parts"]["xsave"]["data"] = data[:middle] + "AAAA" + data[middle + 4 :]
    assert refusal(document).startswith("$.parts.xsave: damaged: ")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("kvmprobe-guest/2", "from a newer kvmprobe: it is kvmprobe-guest/2"),
        ("kvmprobe-run/2", "no saved guest: it does not begin with the schema"),
        (None, "no saved guest"),
    ],
)
def test_another_schema_is_refused(document, schema, message):
    document["schema"] = schema
    assert message in refusal(document)


def test_another_payload_is_refused(document):
    document["payload"] = "0" * 64
    assert "$.payload: saved with another guest payload" in refusal(document)


def test_a_cpuid_table_that_says_more_than_it_holds_is_refused(document, guest):
    # struct kvm_cpuid2: nent is the first member.
    content = unpack(guest.cpuid)
    document["cpuid"] = packed((1000).to_bytes(4, "little") + content[4:])
    assert "$.cpuid: " in refusal(document)
    assert "too short for 1000 entries" in refusal(document)


def test_a_cpuid_table_that_holds_more_than_it_says_is_refused(document, guest):
    document["cpuid"] = packed((1).to_bytes(4, "little") + unpack(guest.cpuid)[4:])
    assert refusal(document).endswith(" bytes for 1 entries")


def test_an_image_that_says_more_than_it_holds_is_refused(document, guest):
    # XTILE_DATA ends at 2816 + 8192.
    document["parts"]["xsave"] = packed(guest.part("xsave")[:8192])
    message = "$.parts.xsave: 8192 bytes, and XSTATE_BV has component 18, which ends at 11008"
    assert refusal(document) == message


def test_an_image_with_what_the_cpuid_lacks_is_refused(document, guest):
    image = bytearray(guest.part("xsave"))
    image[513] |= 1 << 6  # XSTATE_BV is bytes 512-519: component 14
    document["parts"]["xsave"] = packed(bytes(image))
    assert refusal(document).endswith("XSTATE_BV has component 14, which $.cpuid lacks")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["parts"].pop("regs"), "$.parts: 'regs' is missing"),
        (lambda d: d["parts"].update(regs=packed(b"x")), "$.parts.regs: expected 144 bytes, not 1"),
        (lambda d: d["parts"].update(msrs=packed(b"x")), "$.parts.msrs: expected one of regs,"),
        (lambda d: d["msrs"].update({"0x10": "0x1"}), "$.msrs.0x10: no MSR that the model knows"),
        (lambda d: d["msrs"].update({"x": "0x1"}), "$.msrs.x: expected a hexadecimal number"),
        (lambda d: d.update(use="nothing"), "$.use: unknown Use: 'nothing'"),
        (lambda d: d.pop("had"), "$: 'had' is missing"),
    ],
)
def test_a_wrong_member_is_refused_with_its_path(document, change, message):
    change(document)
    assert message in refusal(document)


def test_a_member_that_is_there_twice_is_refused(guest):
    text = to_text(guest).replace('"use":', '"use": "cet", "use":', 1)
    with pytest.raises(ScenarioError, match=r"\$\.use: is there twice"):
        from_bytes(text.encode())
