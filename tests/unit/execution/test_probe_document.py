"""Documents of ``kvmprobe probe --json`` from outside."""

import json

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.execution.probe_document import read_probe
from kvmprobe.model.behaviours import Behaviour
from tests.support.probed import changed, path_of


def refusal(path):
    with pytest.raises(UsageError) as refused:
        read_probe(path)
    return str(refused.value).removeprefix(f"{path}: ")


def test_the_profile_has_what_the_host_has():
    host = read_probe(path_of("7.3.4"))
    assert host.name == "emulated host, 7.3.4, Intel(R) Xeon(R) w9-3475X"
    # CPUID 0xD of a Sapphire Rapids: XTILE_DATA at 2816, 8192 bytes.
    assert host.profile.uabi_size(host.profile.kvm_xcr0) == 2816 + 8192
    assert host.profile.kvm_xss == 0x1800
    assert Behaviour.XFD_WRITE_KEEPS_XSTATE_BV in host.profile.behaviours
    assert host.undetermined == {Behaviour.VENDOR_OWNS_CR4}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # SDM vol.1 13.3: YMM needs SSE, AVX-512 and tiles go together.
        ({"facts__cpu__xcr0": 5}, "facts.cpu.xcr0: 0x5 (FP|YMM) is no legal XCR0"),
        ({"facts__kvm__xcomp_guest_supp": 0x202E7}, "facts.kvm.xcomp_guest_supp: 0x202e7"),
        ({"facts__cpu__xcr0_supported": 0x2E7}, "facts.cpu.xcr0: has 0x60000 (XTILE_CFG|"),
        ({"facts__cpu__xss_supported": 0x1000}, "facts.kvm.supported_cpuid_permitted: 0xD.1"),
        ({"facts__cpu__xss_supported": 0x1804}, "facts.cpu.xss_supported: 0x4 (YMM) also in"),
        ({"facts__kvm__cap_xsave2_permitted": 4096}, "facts.kvm.cap_xsave2_permitted: 4096 bytes"),
        ({"facts__cpu__components__9__offset": 2000}, "facts.cpu.components: component 9 at 2000"),
        (
            {"facts__cpu__components__9__size": 16},
            "facts.cpu.components.9: offset 2688 and size 16",
        ),
        ({"facts__cpu__components__7__size": -1}, "facts.cpu.components: component 7"),
        ({"facts__cpu__components__9__supervisor": 1}, "facts.cpu.components.9.supervisor: super"),
        ({"facts__cpu__mxcsr_mask": 1 << 40}, "facts.cpu.mxcsr_mask: expected 0 to 0xffffffff"),
        ({"facts__cpu__components": {}}, "facts.cpu.components: lacks component 2"),
        ({"facts__cpu__components__x": {}}, "facts.cpu.components.x.offset: is missing"),
        ({"facts__cpu__xcr0": "7"}, "facts.cpu.xcr0: expected an integer of 64 bits"),
        ({"facts__kvm": None}, "facts.kvm.supported_cpuid_permitted: is missing"),
        ({"facts__kvm__msrs": [1 << 32]}, "facts.kvm.msrs: expected at most"),
        ({"facts__kvm__supported_cpuid_permitted": [{}]}, "permitted[0]: expected leaf, subleaf"),
        ({"behaviours__FASTER": {}}, "behaviours: unknown behaviour 'FASTER'"),
        ({"target__kind": 7}, "target.kind: expected a string"),
        ({"schema": "kvmprobe-probe/2"}, "from a newer kvmprobe: it is kvmprobe-probe/2"),
        ({"schema": "kvmprobe-run/2"}, "not of `kvmprobe probe --json`"),
        ({"untestable": {"code": "no_kvm", "reason": "no /dev/kvm"}}, "untestable: KVM of this"),
    ],
    ids=str,
)
def test_facts_that_cannot_be_are_refused_with_their_key(values, message, tmp_path):
    assert message in refusal(changed("7.3.4", tmp_path, **values))


@pytest.mark.parametrize("kept", [0, 1, 100, 5000])
def test_a_truncated_document_is_refused_with_its_place(kept, tmp_path):
    path = tmp_path / "cut.json"
    path.write_bytes(path_of("7.3.4").read_bytes()[:kept])
    assert refusal(path).startswith("not JSON: line ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "not JSON: byte 0 is not UTF-8"),
        (b"[]", "schema: not of"),
        (b'{"schema": "kvmprobe-probe/1", "schema": "kvmprobe-probe/1"}', "$.schema: is there"),
        (b"[" * 100, "nested more than 32 deep"),
        (b" " * ((1 << 20) + 1), "more than 1048576 bytes"),
    ],
)
def test_what_is_no_document_is_refused(content, message, tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert message in refusal(path)


def test_a_document_without_any_one_member_is_read_or_refused(tmp_path):
    def variants(value):
        if isinstance(value, dict):
            for name, member in value.items():
                yield {other: m for other, m in value.items() if other != name}
                yield from ({**value, name: smaller} for smaller in variants(member))

    whole = json.loads(path_of("7.3.4").read_text())
    path = tmp_path / "part.json"
    for document in variants(whole):
        path.write_text(json.dumps(document))
        try:
            read_probe(path)
        except UsageError as error:
            assert str(path) in str(error)  # noqa: PT017 - both are legal
