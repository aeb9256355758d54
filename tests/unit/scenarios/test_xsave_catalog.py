"""The families ``xsave`` and ``fpu``: what they ask, and what a correct kernel says to it."""

import errno
from collections import Counter

import pytest

from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed
from kvmprobe.scenarios.catalog import fpu, xsave
from kvmprobe.scenarios.ops.run import RunImmediateExit, RunUntilHalt
from kvmprobe.scenarios.ops.xsave import GetXsave, SetXsaveImage
from tests.support.hosts import AMX_HOST, AVX512_HOST, PROFILES

BY_ID = {s.id: s for s in (*xsave.scenarios(AMX_HOST), *fpu.scenarios(AMX_HOST))}


def outcomes(scenario_id, op_class):
    """What the model expects of each op of that class, in order."""
    machine, found = Machine.fresh(AMX_HOST), []
    for _, op in BY_ID[scenario_id].ops():
        step = op.step(machine)
        if isinstance(op, op_class):
            found.append((op, step.outcome))
        machine = step.machine
    return found


def accepted(scenario_id):
    """XSTATE_BV of each image that is accepted."""
    tried = outcomes(scenario_id, SetXsaveImage)
    return [op.xstate_bv for op, outcome in tried if not isinstance(outcome, Failed)]


@pytest.mark.parametrize("family", [xsave, fpu], ids=["xsave", "fpu"])
def test_a_family_is_lean(family):
    assert len(family.scenarios(AMX_HOST)) <= 150


@pytest.mark.parametrize("host", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("family", [xsave, fpu], ids=["xsave", "fpu"])
def test_ids_are_the_same_on_every_host(family, host):
    assert [s.id for s in family.scenarios(host)] == [s.id for s in family.scenarios(AMX_HOST)]


def test_each_ends_with_both_kinds_of_run():
    endings = Counter(tuple(step.op for step in s.steps[-2:]) for s in BY_ID.values())
    assert set(endings) == {(RunImmediateExit(), RunUntilHalt())}


def test_every_image_can_be_made_on_a_host_without_amx():
    plain = [s for s in xsave.scenarios(AVX512_HOST) if not s.needs_amx]
    assert all(op.lower(AVX512_HOST) for s in plain for _, op in s.ops())


def test_each_component_is_tried_alone():
    tried = [op.xstate_bv for op, _ in outcomes("xsave.components.bare", SetXsaveImage)]
    assert set(tried) >= {1 << nr for nr in range(64)}


@pytest.mark.parametrize("guest", ["bare", "empty", "legacy", "plain"])
def test_without_tile_data_eight_components_and_none_are_accepted(guest):
    # INV-18: KXCR0 & ux, whatever the guest's CPUID has; 0x202e7 is HD of contract 1
    bits = [1 << nr for nr in range(64) if 0x202E7 >> nr & 1]
    assert accepted(f"xsave.components.{guest}") == [*bits, 0]


@pytest.mark.parametrize("guest", ["tiles", "dropped", "no-pku"])
def test_with_tile_data_once_enabled_it_is_accepted(guest):
    # contract 4: also after a table without tiles
    assert 1 << 18 in accepted(f"xsave.components.{guest}")


@pytest.mark.parametrize("guest", ["bare", "plain", "tiles"])
def test_every_fault_of_the_header_is_refused(guest):
    # 64 bits of XCOMP_BV, one value, 48 reserved bytes
    tried = outcomes(f"xsave.refused.{guest}", SetXsaveImage)
    assert [outcome for _, outcome in tried] == [Failed(errno.EINVAL)] * (64 + 1 + 48)


@pytest.mark.parametrize("guest", ["bare", "plain", "tiles"])
def test_what_is_no_fault_is_accepted(guest):
    assert len(accepted(f"xsave.ignored.{guest}")) == 7


@pytest.mark.parametrize(
    ("user", "legal"),
    [("fp", 16), ("sse", 16), ("ymm", 16), ("all", 16), ("none", 32), ("others", 32)],
)
def test_mxcsr_is_judged_if_a_component_uses_it(user, legal):
    # contract 7.3 step 8; the mask is 0xffff
    assert len(accepted(f"xsave.mxcsr-bits.plain.{user}")) == legal


@pytest.mark.parametrize(
    ("guest", "refused"),
    [("bare", False), ("plain", False), ("tiles", True), ("dropped", True)],
)
def test_the_old_call_ends_with_tiles(guest, refused):
    # INV-13
    seen = {isinstance(o, Failed) for _, o in outcomes(f"xsave.old-get.{guest}", GetXsave)}
    assert seen == {refused}


def test_sizes_are_tried_exact_and_one_byte_short():
    # INV-14
    sizes = {op.size for _, op in BY_ID["xsave.extent.tiles"].ops() if hasattr(op, "size")}
    assert sizes == {0, 4095, 4096, 11007, 11008}
