"""What the catalogue makes of an op that it tries by itself."""

import pytest

from kvmprobe.scenarios.calls import Relation
from kvmprobe.scenarios.catalog import vmm
from kvmprobe.scenarios.op_fields import Choice, Number, Text, limits
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.ops._base import TriedIoctl
from kvmprobe.scenarios.ops.vcpu_state import GetDebugregs, SetDebugregs
from kvmprobe.scenarios.ops.xsave import GetXsave2
from tests.support.hosts import AMX_HOST

TRIED = [op for op in registry().values() if issubclass(op, TriedIoctl)]
SCENARIOS = {s.id: s for s in vmm.scenarios(AMX_HOST)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Number(9), (0, 9)),
        (Choice(Relation), tuple(Relation)),
        (Text(), ()),
    ],
)
def test_limits_of_a_kind(kind, expected):
    assert limits(kind) == expected


def test_by_default_each_field_is_tried_at_its_limits():
    tries = TriedIoctl.tries.__func__(SetDebugregs)
    edges = ((0, (1 << 64) - 1),) * 4
    named = zip(("db0", "flags", "dr6", "dr7"), edges, strict=True)
    expected = [SetDebugregs(**{name: edge}) for name, pair in named for edge in pair]
    assert tries == (SetDebugregs(), *expected)


@pytest.mark.parametrize("op", TRIED, ids=lambda op: op.name)
@pytest.mark.parametrize("chip", ["irqchip", "no-irqchip"])
def test_it_appears_in_the_catalogue_by_itself(op, chip):
    tried = [o for _, o in SCENARIOS[f"vmm.state-{op.row()}.{chip}"].ops()]
    assert set(op.reading) <= set(tried)


def test_after_each_value_the_state_is_read():
    steps = SCENARIOS["vmm.state-debugregs.irqchip"].steps
    after = [step.observers for step in steps if isinstance(step.op, SetDebugregs)]
    assert set(after) == {(GetDebugregs(), GetXsave2())}
    assert len(after) == len(SetDebugregs.tries())
