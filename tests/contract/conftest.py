"""What the contract tests share."""

from functools import cache

import pytest

from tests.support.hosts import PROFILES
from tests.support.sweep import sweep


@pytest.fixture(scope="session")
def swept():
    """Returns what a correct kernel of a host does in the whole catalogue; each host once."""
    return cache(sweep)


@pytest.fixture(params=PROFILES.values(), ids=PROFILES)
def on_each_host(request, swept):
    """The sweep of the catalogue on each of the host profiles."""
    return swept(request.param)
