"""B17: a table that KVM compares before it has brought it up to date."""

from __future__ import annotations

import errno

from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.guest_cpuid import get_cpuid2, set_cpuid2
from kvmprobe.model.machine import GuestCpuid
from kvmprobe.model.outcome import Done, Failed
from kvmprobe.model.run import run_until_halt
from kvmprobe.xstate.cpuid_values import IN_USE_FIELD
from tests.support.hosts import AMX_HOST, VCPU, machine_with_vcpu, with_behaviours, with_fields

B17 = with_behaviours(AMX_HOST, Behaviour.CPUID_COMPARED_UNREFRESHED)
TABLE = GuestCpuid.of(AMX_HOST.supported)
# Sizes of the standard format: SDM vol.1 13.4.2; YMM ends at 832.
LEGACY_SIZE, YMM_SIZE = 576, 832


def set_(machine):
    return set_cpuid2(machine, VCPU, TABLE)


def get(machine):
    return get_cpuid2(machine, VCPU, "")


def ran(host=B17):
    """A vCPU that ran with this table, whose XCR0 has become 7 since."""
    given = set_(machine_with_vcpu(host, granted=True)).machine
    return with_fields(run_until_halt(given, VCPU).machine, xcr0=7)


def in_use(machine):
    return get(machine).outcome.fields[IN_USE_FIELD]


def test_a_correct_kernel_takes_its_own_table():
    assert set_(ran(AMX_HOST)).outcome == Done()


def test_the_same_table_is_refused_after_a_change_that_nothing_has_read():
    assert set_(ran()).outcome == Failed(errno.EINVAL)


def test_reading_the_table_avoids_it():
    assert set_(get(ran()).machine).outcome == Done()


def test_without_a_change_it_is_taken():
    assert set_(with_fields(ran(), xcr0=1)).outcome == Done()


def test_a_change_of_fp_and_sse_alone_is_none():
    # __kvm_set_xcr looks at XFEATURE_MASK_EXTEND: other bits than these two
    assert set_(with_fields(ran(), xcr0=3)).outcome == Done()


def test_the_update_is_lost_with_the_refused_table():
    assert in_use(set_(ran()).machine) == LEGACY_SIZE


def test_the_next_change_brings_the_table_up_to_date():
    after = set_(ran()).machine
    assert in_use(with_fields(after, xss=1 << 8)) == YMM_SIZE


def test_before_the_first_run_nothing_is_compared():
    machine = with_fields(set_(machine_with_vcpu(B17, granted=True)).machine, xcr0=7)
    assert set_(machine).outcome == Done()
    assert in_use(set_(machine).machine) == YMM_SIZE
