"""All checkers of one run: for each trace alone, and for pairs of traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.checkers import (
    acceptance,
    bounds,
    closure,
    guest_view,
    host_registers,
    normal_msrs,
    permissions,
    roundtrip,
    stability,
    structures,
    views,
)
from kvmprobe.checkers.event import Lowered
from kvmprobe.checkers.observed import ObservedState
from kvmprobe.checkers.orders import Orders
from kvmprobe.checkers.relations import Relations

if TYPE_CHECKING:
    from kvmprobe.checkers.checker import Check, Checker
    from kvmprobe.model.host import HostProfile
    from kvmprobe.results.record import Finding
    from kvmprobe.results.trace import Trace
    from kvmprobe.scenarios.scenario import Scenario

CHECKERS: tuple[Checker, ...] = (
    stability.steadiness,
    views.fpu_and_xsave,
    views.xsave_and_xsave2,
    views.set_and_get,
    views.restored_and_saved,
    views.xstate_and_xfd,
    guest_view.guest_and_host,
    closure.advertised_is_accepted,
    closure.listed_is_readable,
    bounds.image_form,
    bounds.old_get_xsave,
    bounds.fresh_vcpu,
    bounds.legal_header,
    permissions.requests,
    permissions.bitmaps,
    permissions.growth,
    permissions.sizes,
    permissions.supported_table,
    permissions.unpermitted,
    permissions.other_memory,
    roundtrip.what_is_accepted_returns,
    roundtrip.what_is_read_stays,
    structures.sregs_and_sregs2,
    structures.list_and_one_reg,
    normal_msrs.what_is_written_reads_back,
    acceptance.reserved_is_refused,
    acceptance.supported_is_accepted,
    acceptance.failed_entry_is_named,
    acceptance.reset_state_is_entered,
    host_registers.registers_are_kept,
    host_registers.others_keep_registers,
)


def _by_call() -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for checker in CHECKERS:
        for name in checker.calls:
            found.setdefault(name, []).append(checker.check)
    return found


_BY_CALL = _by_call()


class Checkers:
    """The checkers for the traces of one kernel."""

    def __init__(self, host: HostProfile) -> None:
        self._host = host
        self._lowered = Lowered(host)
        self._orders = Orders(host, self._lowered)
        self._relations = Relations(host, self._lowered)

    def within(self, scenario: Scenario, trace: Trace) -> tuple[Finding, ...]:
        """Return the findings in one trace; of each kind the first."""
        state = ObservedState(self._host)
        found: dict[tuple[str, str], Finding] = {}
        for event in self._lowered.events(scenario, trace):
            for check in _BY_CALL.get(event.name, ()):
                for finding in check(event, state):
                    found.setdefault((finding.invariant, finding.signature), finding)
            state.update(event)
        return tuple(found.values())

    def across(
        self, scenario: Scenario, trace: Trace, known: tuple[str, ...]
    ) -> tuple[Finding, ...]:
        """Compare a trace with the earlier traces of other orders of its calls, and of its base.

        :param known: the defects that explain the divergences of this scenario
        """
        related = self._relations.compare(scenario, trace, known)
        if scenario.derived is not None:
            return related
        return *self._orders.compare(scenario, trace, known), *related
