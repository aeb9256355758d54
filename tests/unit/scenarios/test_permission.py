"""The ops of permission and processes as they are lowered, and what the family has."""

import errno

import pytest

from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed
from kvmprobe.scenarios.calls import (
    ArchPrctl,
    Immediate,
    LimitDescriptors,
    Output,
    Relation,
    SetAltStack,
    Spawn,
)
from kvmprobe.scenarios.catalog import permission
from kvmprobe.scenarios.ops.permission import (
    GetGuestPermission,
    GetPermission,
    GetSupported,
    GetToNowhere,
    RequestGuestPermission,
    RequestPermission,
    UnknownOption,
)
from kvmprobe.scenarios.ops.process import LimitOwnDescriptors, SetAltstack, SpawnTask
from tests.support.hosts import AMX_HOST, AVX512_HOST

FAMILY = permission.scenarios(AMX_HOST)
BY_ID = {s.id: s for s in FAMILY}
TASKS = ("", "thread", "fork", "shared-mm", "exec")
REQUESTS = (RequestGuestPermission, RequestPermission)


def ops(kind):
    return [op for s in FAMILY for _, op in s.ops() if isinstance(op, kind)]


def outcomes(scenario_id, host=AMX_HOST):
    machine = Machine.fresh(host)
    found = []
    for step in BY_ID[scenario_id].steps:
        found.append(step.op.step(machine).outcome)
        machine = step.op.step(machine).machine
    return found


# Codes and what the argument is: asm/prctl.h; contract 1, "Numbers".
@pytest.mark.parametrize(
    ("op_value", "call"),
    [
        (GetSupported("fork"), ArchPrctl(0x1021, Output(8), "fork")),
        (GetPermission("fork"), ArchPrctl(0x1022, Output(8), "fork")),
        (RequestPermission(18, "fork"), ArchPrctl(0x1023, Immediate(18), "fork")),
        (GetGuestPermission("fork"), ArchPrctl(0x1024, Output(8), "fork")),
        (RequestGuestPermission(18, "fork"), ArchPrctl(0x1025, Immediate(18), "fork")),
        (GetToNowhere(0x1022), ArchPrctl(0x1022, Immediate(0))),
        (UnknownOption(0x1026), ArchPrctl(0x1026, Immediate(0))),
        (SpawnTask("fork", Relation.FORK), Spawn("fork", Relation.FORK)),
        (SetAltstack(4096, "thread"), SetAltStack(4096, "thread")),
        (LimitOwnDescriptors(), LimitDescriptors()),
    ],
    ids=lambda v: type(v).__name__,
)
def test_an_op_asks_the_kernel_this(op_value, call):
    assert op_value.lower(AMX_HOST) == call


def test_a_bitmap_is_8_bytes_in_little_endian():
    assert GetPermission().read(b"\xe7\x02\x06" + bytes(5)) == {"XCOMP": 0x602E7}


def test_the_caller_is_in_the_text():
    assert RequestGuestPermission(18, "exec").text == "ARCH_REQ_XCOMP_GUEST_PERM(18) by exec"


def test_a_number_beyond_16_bits_is_shown_in_hexadecimal():
    assert RequestPermission(1 << 32 | 18).text == "ARCH_REQ_XCOMP_PERM(0x100000012)"


@pytest.mark.parametrize("request_op", REQUESTS)
def test_everyone_asks_for_every_number(request_op):
    # INV-3: 0..17, 19, 20 and above, with a set bit beyond 32 and ~0.
    numbers = [*range(21), 1 << 32 | 18, (1 << 64) - 1]
    assert {request_op(nr, by) for by in TASKS for nr in numbers} <= set(ops(request_op))


@pytest.mark.parametrize("get", [GetSupported, GetPermission, GetGuestPermission])
@pytest.mark.parametrize("by", TASKS)
def test_everyone_reads_every_bitmap(get, by):
    assert get(by) in ops(get)


@pytest.mark.parametrize(
    ("column", "failed"),
    # contract 9: P,V and V,P ok; P,C ok; C,P EBUSY, whichever thread does which.
    [
        ("p-v-c-u", []),
        ("v-p-c-u", []),
        ("c-p-u", [errno.EBUSY]),
        ("c-thread-p", [errno.EBUSY]),
        ("thread-c-p", [errno.EBUSY]),
        ("p-c-p-u", []),
    ],
)
def test_the_orders_fail_where_the_contract_says(column, failed):
    found = outcomes(f"permission.order.{column}")
    assert [o.errno for o in found if isinstance(o, Failed)] == failed


def test_a_shared_memory_process_gives_its_permission_to_a_vcpu_of_its_maker():
    # live, correction 17: the maker's SET_CPUID2 is EPERM, the other's succeeds, then the maker's.
    found = outcomes("permission.order.shared-mm-p-c-u")
    assert [o for o in found if isinstance(o, Failed)] == [Failed(errno.EPERM)]


def test_the_family_is_the_same_on_every_host():
    assert permission.scenarios(AVX512_HOST) == FAMILY


def test_the_family_needs_nothing():
    # ARCH_REQ_XCOMP_* need no KVM that has AMX: the host's CPU is enough, the model knows which.
    assert {s.needs for s in FAMILY} == {frozenset()}
