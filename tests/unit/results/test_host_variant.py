import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import from_json, to_json
from kvmprobe.results.host_variant import LONGEST_APPEND, HostVariant
from kvmprobe.results.record import Target

NOPKU = HostVariant("nopku kvm_intel.ept=0")


def test_the_default_host_has_no_options():
    assert HostVariant().options == ""


def test_options_are_as_one_types_them():
    assert NOPKU.options == "--append 'nopku kvm_intel.ept=0'"


def test_all_options_are_named():
    every = HostVariant("nopku", "no-amx", 2)
    assert every.options == "--cpu no-amx --cpus 2 --append nopku"


@pytest.mark.parametrize("words", ["a\nb", "a\0b", "a\x1bb", "\u00e4"])
def test_parameters_that_a_command_line_cannot_hold_are_refused(words):
    with pytest.raises(ValueError, match="printable ASCII"):
        HostVariant(words)


def test_the_longest_parameters_are_accepted():
    assert len(HostVariant("x" * LONGEST_APPEND).append) == LONGEST_APPEND


def test_longer_parameters_are_refused():
    with pytest.raises(ValueError, match=f"longer than {LONGEST_APPEND} characters"):
        HostVariant("x" * (LONGEST_APPEND + 1))


def test_a_target_is_read_back_with_its_variant():
    target = Target("lab", "6.12.95", "trixie", NOPKU)
    assert from_json(Target, to_json(Target, target)) == target


def test_a_target_of_an_older_kvmprobe_is_the_default_host():
    older = {"kind": "lab", "kernel": "6.12.95", "source": "trixie"}
    assert from_json(Target, older) == Target("lab", "6.12.95", "trixie")


def test_the_default_host_is_written_as_before():
    assert to_json(Target, Target("lab", "6.12.95", "trixie")).keys() == {
        "kind",
        "kernel",
        "source",
    }


def test_a_damaged_variant_is_refused_with_its_path():
    damaged = {"kind": "lab", "kernel": "6.12.95", "source": "", "variant": {"append": "\n"}}
    with pytest.raises(ScenarioError, match=r"^\$\.variant: .*printable"):
        from_json(Target, damaged)


def test_the_description_has_the_options():
    described = Target("lab", "6.12.95", "trixie", NOPKU).description
    assert described == "emulated host, 6.12.95 --append 'nopku kvm_intel.ept=0'"
