"""Which derived scenarios run beside those of the catalogue, and a list of all that are planned."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from zlib import crc32

from kvmprobe.cli.grammar.choices import Observe, Related
from kvmprobe.cli.traits import catalogue
from kvmprobe.coverage.first import places
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.relations import BLIND, RELATIONS, UNREAD, base_id, derivation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kvmprobe.cli.session import Listed
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.relations.derivation import Derivation
    from kvmprobe.scenarios.scenario import Scenario

# `sample` takes one derived scenario of so many.
_ONE_OF = 8


def expanded(ids: Iterable[str], observe: Observe, relations: Sequence[str] = ()) -> list[str]:
    """Return the ids of what runs for these scenarios of the catalogue.

    :param relations: names of derivations, or ``all``, ``sample``, ``none``
    """
    bases = {traits.scenario.id: traits.scenario for traits in catalogue()}
    found = []
    for chosen in ids:
        base = bases[chosen]
        found += [*_of(base, observe), *_related(base, relations)]
    return list(dict.fromkeys(found))


def _related(base: Scenario, relations: Sequence[str]) -> Iterator[str]:
    for derivation in RELATIONS:
        if derivation.name in relations or Related.ALL in relations:
            yield from _ids(base, derivation)
    if Related.SAMPLE in relations and _sampled(base.id):
        # A derivation for each base, by its id, and then one of its variants.
        chosen = RELATIONS[crc32(base.id.encode()) // _ONE_OF % len(RELATIONS)]
        derived = list(_ids(base, chosen))
        yield from derived[len(derived) // 2 :][:1]


def _of(base: Scenario, observe: Observe) -> Iterator[str]:
    match observe:
        case Observe.EACH:
            yield base.id
        case Observe.END:
            yield next(_ids(base, BLIND), base.id)
        case Observe.NONE:
            yield next(_ids(base, UNREAD), base.id)
        case Observe.BOTH:
            yield from (base.id, *_ids(base, BLIND))
        case Observe.SAMPLE:
            yield from (base.id, *filter(_sampled, _ids(base, BLIND)))


def _ids(base: Scenario, derivation: Derivation) -> Iterator[str]:
    return (f"{base.id}.{suffix}" for suffix in derivation.suffixes(base))


def _sampled(name: str) -> bool:
    """Return True for one id of :data:`_ONE_OF`, always the same ones."""
    return crc32(name.encode()) % _ONE_OF == 0


def listing(planned: Iterable[str]) -> Listed:
    """Return a function that lists a host's catalogue, each with what is planned of its derived."""
    derived: defaultdict[str, list[str]] = defaultdict(list)
    for name in planned:
        derived[base_id(name)].append(name.rpartition(".")[2])

    def listed(host: HostProfile) -> Sequence[Scenario]:
        return [s for base in catalog.scenarios(host) for s in _listed(base, derived)]

    return listed


def by_coverage(listed: Listed) -> Listed:
    """Return a function that lists the same scenarios, those that add coverage first."""
    last = len(places())

    def ordered(host: HostProfile) -> Sequence[Scenario]:
        return sorted(listed(host), key=lambda s: places().get(base_id(s.id) or s.id, last))

    return ordered


def _listed(base: Scenario, derived: dict[str, list[str]]) -> Iterator[Scenario]:
    yield base
    for suffix in derived.get(base.id, ()):
        derivation = derivation_of(suffix)
        if derivation is not None:
            yield derivation.scenario(base, suffix)


def unknown(planned: Iterable[str]) -> set[str]:
    """Return the planned ids that neither the catalogue has nor can be derived from it."""
    bases = {traits.scenario.id: traits.scenario for traits in catalogue()}

    def exists(name: str) -> bool:
        if name in bases:
            return True
        base, suffix = bases.get(base_id(name)), name.rpartition(".")[2]
        derivation = derivation_of(suffix)
        return bool(base and derivation and suffix in derivation.suffixes(base))

    return {name for name in planned if not exists(name)}
