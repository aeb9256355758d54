"""Arguments that no field of the kernel's structures holds: LayoutError, before any call is made.

The descriptors are closed, so that what does reach the kernel changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import pytest

from kvmprobe.bindings import (
    KernelCallError,
    LayoutError,
    request_guest_permission,
    request_host_permission,
)
from tests.support.binding_calls import CALLS

NUMBERS = (-1, 1 << 32, 1 << 64, 1 << 100)
EACH = [(cls, name) for cls in CALLS for name in CALLS[cls] if CALLS[cls][name]]


def variants(value):
    """The value with each number in it replaced by each of NUMBERS, and with one element more."""
    if isinstance(value, int):
        yield from NUMBERS
    elif isinstance(value, bytes):
        yield from (b"", bytes(1), value + bytes(1))
    elif isinstance(value, tuple):
        yield value + value[:1] * 32
        for i, item in enumerate(value):
            yield from ((*value[:i], other, *value[i + 1 :]) for other in variants(item))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from ({**value, other: item} for other in variants(key))
            yield from ({**value, key: other} for other in variants(item))
    elif is_dataclass(value):
        for field in fields(value):
            for other in variants(getattr(value, field.name)):
                yield replace(value, **{field.name: other})


def bad_arguments(arguments):
    for i, argument in enumerate(arguments):
        yield from ((*arguments[:i], other, *arguments[i + 1 :]) for other in variants(argument))


def ending(call, arguments):
    """The type of the error that a call ends with; None where it succeeds."""
    try:
        call(*arguments)
    except Exception as error:
        return type(error)
    return None


@pytest.mark.parametrize(("cls", "name"), EACH, ids=lambda v: getattr(v, "__name__", v))
def test_an_argument_out_of_range_is_refused_by_the_library(closed, cls, name):
    call = getattr(closed[cls], name)
    endings = [(args, ending(call, args)) for args in bad_arguments(CALLS[cls][name])]
    allowed = {LayoutError, KernelCallError}
    assert not [(args, error) for args, error in endings if error not in allowed]


@pytest.mark.parametrize("call", [request_guest_permission, request_host_permission])
@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_feature_number_out_of_range_is_refused_by_the_library(call, number):
    assert ending(call, (number,)) is LayoutError


def test_a_fifth_argument_of_a_capability_is_refused(vm):
    with pytest.raises(LayoutError, match="struct kvm_enable_cap: args: 4 at most, not 5"):
        vm.enable_cap(1, 2, 3, 4, 5, 6)


def test_the_message_names_the_call(vm):
    with pytest.raises(LayoutError, match=r"KVM_CREATE_VCPU: argument -1 does not fit 64 bits"):
        vm.create_vcpu(-1)


def test_the_message_names_structure_field_and_value(vm):
    with pytest.raises(LayoutError, match=r"struct kvm_irq_level: irq: -1 does not fit 32 bits"):
        vm.irq_line(-1, 1)
