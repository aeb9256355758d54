"""Every call on a descriptor that is closed."""

from __future__ import annotations

import errno
import inspect
import os

import pytest

from kvmprobe.bindings import KernelCallError
from tests.support.binding_calls import CALLS, WITHOUT_A_CALL

EACH = [(cls, name) for cls in CALLS for name in CALLS[cls]]


@pytest.mark.parametrize(("cls", "name"), EACH, ids=lambda v: getattr(v, "__name__", v))
def test_every_call_is_ebadf(closed, cls, name):
    with pytest.raises(KernelCallError, match="the descriptor is closed") as caught:
        getattr(closed[cls], name)(*CALLS[cls][name])
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_no_call_is_left_out(cls):
    public = {n for n, _ in inspect.getmembers(cls, inspect.isroutine) if not n.startswith("_")}
    assert public - WITHOUT_A_CALL == CALLS[cls].keys()


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_closing_twice_closes_no_other_descriptor(closed, cls):
    other = os.open("/dev/null", os.O_RDONLY)
    closed[cls].close()
    os.close(other)  # fails if it is closed


@pytest.mark.parametrize("cls", CALLS, ids=lambda c: c.__name__)
def test_a_closed_descriptor_says_so(closed, cls):
    assert (closed[cls].closed, closed[cls].fileno()) == (True, -1)
