"""Any ops in any order drive the model: it is total, and its invariants hold."""

from hypothesis import settings

from kvmprobe.model.behaviours import Behaviour, Kind
from tests.support.hosts import AMX_HOST, AVX512_HOST, with_behaviours
from tests.support.random_walks import Walk

VARIANTS = [b for b in Behaviour if b.kind is Kind.VARIANT]
LIMITS = settings(max_examples=40, stateful_step_count=30, deadline=None)


class WalkOnAnAmxHost(Walk):
    host = AMX_HOST


class WalkWithoutAmx(Walk):
    host = AVX512_HOST


class WalkWithEveryVariant(Walk):
    host = with_behaviours(AMX_HOST, *VARIANTS)


class TestWalkOnAnAmxHost(WalkOnAnAmxHost.TestCase):
    settings = LIMITS


class TestWalkWithoutAmx(WalkWithoutAmx.TestCase):
    settings = LIMITS


class TestWalkWithEveryVariant(WalkWithEveryVariant.TestCase):
    settings = LIMITS
