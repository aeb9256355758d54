"""Probes a target: the worker's facts, and which behaviours its kernel shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.errors import Unavailable, WorkerError
from kvmprobe.execution.driver import GARBLED, Request
from kvmprobe.execution.preflight import Preflight, profile_of
from kvmprobe.judge.lockstep import predicts
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from kvmprobe.scenarios.ops.xsave import whole_image

if TYPE_CHECKING:
    from kvmprobe.execution.driver import Driver
    from kvmprobe.model.behaviours import Behaviour, Behaviours
    from kvmprobe.model.host import HostProfile


# 64 components, each of the size of the largest of today, XTILE_DATA.
_LARGEST_IMAGE = 64 * 8192


def examine(driver: Driver) -> Preflight:
    """Probe the target of a driver.

    :raises Unavailable: ``no_kvm``, ``no_kvm_permission``, ``old_kvm``, ``old_kernel`` or
        ``no_xsave``
    :raises WorkerError: what the worker sent are no facts
    """
    facts = driver.facts()
    try:
        if facts["kvm"] is None:
            reason = facts["kvm_unavailable"]
            raise Unavailable(str(reason["code"]), str(reason["message"]))
        profile = profile_of(facts)
        _check_places(profile)
    except GARBLED as garbled:
        raise WorkerError(f"the worker's facts are not such: {garbled!r:.200}") from garbled
    found, undetermined = _behaviours(driver, profile)
    return Preflight(facts, replace(profile, behaviours=found), undetermined)


def _check_places(profile: HostProfile) -> None:
    """Check that images can be made.

    :raises ValueError: a component has no place, or a place or size that no processor has
    """
    size = profile.layout.size(profile.user_features | profile.kvm_xcr0)
    if size > _LARGEST_IMAGE or not 0 <= profile.mxcsr_mask <= U32_MAX:
        raise ValueError(f"images of {size} bytes, MXCSR mask {profile.mxcsr_mask:#x}")
    whole_image(profile.user_features, profile)


def _behaviours(driver: Driver, profile: HostProfile) -> tuple[Behaviours, Behaviours]:
    """Run each probe; compare its trace with the model with and without the behaviour."""
    probes = {b: p for b, p in PROBES.items() if profile.amx or not p.needs_amx}
    requests = [Request(probe, gate=1) for probe in probes.values()]
    traces = [trace for _, trace in driver.traces(requests, profile)]
    found: Behaviours = frozenset()
    undetermined: set[Behaviour] = set()
    for (behaviour, probe), trace in zip(probes.items(), traces, strict=True):
        without = predicts(probe, replace(profile, behaviours=found), trace)
        with_it = predicts(probe, replace(profile, behaviours=found | {behaviour}), trace)
        if with_it and not without:
            found |= {behaviour}
        elif not without:
            undetermined.add(behaviour)
    return found, frozenset(undetermined)
