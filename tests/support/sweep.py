"""One pass over a host's catalogue on a correct kernel, for all tests of every scenario."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from kvmprobe.checkers.session import Checkers
from kvmprobe.errors import errno_name
from kvmprobe.judge.lockstep import agrees_along
from kvmprobe.judge.unspecified import open_in
from kvmprobe.model.freedom import Freedom
from kvmprobe.model.outcome import Done, Failed, HostDies, OneOf
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.model_run import ModelRun
from tests.support.fake_kernel import trace_along
from tests.support.lost_values import lost_in


@dataclass
class Sweep:
    """What a correct kernel does in the catalogue's scenarios, and what is wrong with it.

    :ivar legal: the number of answers that the model allows, by the id of the scenarios that have
        a call with several
    :ivar dying: ids of the scenarios in which the host dies
    :ivar diverging: id and number of the legal answer, where the judge sees a divergence
    :ivar findings: id and finding, of the checkers
    :ivar errnos: names of the errnos that the model expects, by the op's name
    :ivar undeclared: id and op, where something is open and no freedom says why
    :ivar lost: values of guests that a legal answer lacks
    :ivar open_bytes: how many bytes of the answers the model leaves open, by family and reason
    """

    legal: dict = field(default_factory=dict)
    dying: list = field(default_factory=list)
    diverging: list = field(default_factory=list)
    findings: list = field(default_factory=list)
    errnos: defaultdict = field(default_factory=lambda: defaultdict(set))
    open_bytes: dict = field(default_factory=dict)
    lost: set = field(default_factory=set)
    undeclared: list = field(default_factory=list)


def fitting(host):
    """The scenarios that this host can run."""
    return [s for s in catalog.scenarios(host) if host.amx or not s.needs_amx]


def sweep(host):
    found, checkers, model_run = Sweep(), Checkers(host), ModelRun(host)
    seen: dict = {}
    for scenario in fitting(host):
        _add_outcomes(found, scenario, model_run)
        _add_lost(found, scenario, model_run, seen)
        for legal in range(found.legal.get(scenario.id, 1)):
            trace = trace_along(scenario, model_run, legal)
            if not agrees_along(scenario, model_run, trace):
                found.diverging.append((scenario.id, legal))
            found.findings += [
                (scenario.id, f) for f in _findings(checkers, scenario, trace, legal)
            ]
        model_run.forget_if_large()
        if not model_run.size:
            seen.clear()
    return found


def _findings(checkers, scenario, trace, legal):
    if legal == 0:
        return *checkers.within(scenario, trace), *checkers.across(scenario, trace, ())
    # What the destination answers follows from what the source answered; the model allows both
    # answers of each.
    return () if scenario.family == "migrate" else checkers.within(scenario, trace)


def _add_lost(found, scenario, model_run, seen):
    """Add what the scenario's steps may lose; ``seen`` has those that others took before."""
    machine = model_run.start
    for _, op in scenario.ops():
        step = model_run.step(machine, op)
        if id(step) not in seen:
            seen[id(step)] = step
            found.lost |= set(lost_in(machine, op, step))
        machine = step.machine


def _add_outcomes(found, scenario, model_run):
    machine = model_run.start
    counted = found.open_bytes.setdefault(scenario.family, Counter())
    for _, op in scenario.ops():
        step = model_run.step(machine, op)
        if isinstance(step.outcome, Failed):
            found.errnos[op.name].add(errno_name(step.outcome.errno))
        elif isinstance(step.outcome, OneOf):
            legal = found.legal.get(scenario.id, 1)
            found.legal[scenario.id] = max(legal, len(step.outcome.choices))
        elif isinstance(step.outcome, HostDies):
            found.dying.append(scenario.id)
        counted += open_in(step.outcome)
        if not _declared(step.outcome):
            found.undeclared.append((scenario.id, op.name))
        machine = step.machine


def _declared(outcome):
    """Whether all that an outcome leaves open has a freedom that says why."""
    if isinstance(outcome, OneOf):
        return isinstance(outcome.freedom, Freedom) and all(map(_declared, outcome.choices))
    if not isinstance(outcome, Done):
        return True
    parts = [part for part in (outcome.image, outcome.memory) if part]
    named = [place.freedom for part in parts for place in part.unspecified]
    named += [outcome.freedom] if any(outcome.open_fields.values()) else []
    named += [outcome.table.freedom] if outcome.table and outcome.table.unspecified else []
    return all(isinstance(freedom, Freedom) for freedom in named)
