"""Restore orders as data."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.catalog.vmm import restoring
from kvmprobe.scenarios.presets import CALLS, DEFAULT_STATES, Preset, presets, read_preset

GOOD = """\
program = "my VMM"
version = "1"
source = "here"
calls = ["cpuid", "xsave"]
"""


def written(tmp_path, text, name="order.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_each_built_in_order_says_whose_it_is():
    assert [p.name for p in presets() if not (p.program and p.version and p.source)] == []


def test_each_call_is_one_of_some_order_or_restores_something():
    host = sapphire_rapids()
    for call in CALLS:
        preset = Preset("x", "", "", "", ("cpuid", call), ("tiles",))
        [scenario] = restoring(preset, host)
        alone = Preset("x", "", "", "", ("cpuid",), ("tiles",))
        assert len(scenario.steps) > len(restoring(alone, host)[0].steps), call


def test_an_order_is_called_as_its_file_and_has_the_usual_states(tmp_path):
    preset = read_preset(written(tmp_path, GOOD))
    assert (preset.name, preset.tokens) == ("order", ("cpuid", "xsave"))
    assert preset.states == DEFAULT_STATES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("calls =", "calls"), "expected TOML: Expected '=' after a key"),
        (GOOD.replace("calls", "call"), "call: unknown key; expected program, version, source"),
        (GOOD.replace('"cpuid", "xsave"', ""), "calls: expected 1 to 64 calls, not 0"),
        (GOOD.replace('"xsave"', '"xsav"'), "calls[1]: expected one of cpuid, no-cpuid, regs"),
        (GOOD.replace('["cpuid", "xsave"]', "7"), "calls: expected a list of texts, not 7"),
        (GOOD.replace('"1"', "1"), "version: expected a text, not 1"),
        (GOOD.replace('source = "here"\n', ""), "source: expected a text, and there is none"),
        (GOOD + "x = " + "[" * 5000, "nested too deep for an order"),
        (GOOD + "#" * (1 << 20), "more than 1048576 bytes; no order"),
        (GOOD + 'states = ["asleep"]', "states[0]: expected one of no-tiles, tiles, xfd-armed"),
    ],
)
def test_a_broken_file_is_refused_with_the_key(text, message, tmp_path):
    with pytest.raises(UsageError) as refused:
        read_preset(written(tmp_path, text))
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["Order.toml", "an order.toml", ".toml"])
def test_a_name_that_no_scenario_can_have_is_refused(name, tmp_path):
    with pytest.raises(UsageError, match="the order's name is the file's"):
        read_preset(written(tmp_path, GOOD, name))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "order.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="expected UTF-8"):
        read_preset(path)
