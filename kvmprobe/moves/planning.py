"""Which moves a matrix makes: from which host to which, in which order, into which vCPU."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import covertable

from kvmprobe.moves.restoring import Into

if TYPE_CHECKING:
    from collections.abc import Sequence


class Host(NamedTuple):
    """An emulated host: a kernel, and a processor as ``--cpu`` names it; empty for the default."""

    kernel: str
    cpu: str


class Planned(NamedTuple):
    """A move of each guest that the source can have and the order restores."""

    source: Host
    target: Host
    order: str
    into: Into


def every_move(
    kernels: Sequence[str], cpus: Sequence[str], orders: Sequence[str], intos: Sequence[Into]
) -> tuple[Planned, ...]:
    """Return all combinations."""
    hosts = [Host(*one) for one in product(kernels, cpus)]
    return tuple(Planned(*one) for one in product(hosts, hosts, orders, intos))


def pairwise(
    kernels: Sequence[str], cpus: Sequence[str], orders: Sequence[str], intos: Sequence[Into]
) -> tuple[Planned, ...]:
    """Return few moves that have each pair of values of each two factors.

    The factors are kernel and processor of source and target, order, vCPU.  The same arguments
    give the same moves, sorted as :func:`every_move` has them.
    """
    factors = {
        "source": kernels,
        "source_cpu": cpus,
        "target": kernels,
        "target_cpu": cpus,
        "order": orders,
        "into": intos,
    }
    rows = covertable.make(factors)
    chosen = {
        Planned(
            Host(row["source"], row["source_cpu"]),
            Host(row["target"], row["target_cpu"]),
            row["order"],
            Into(row["into"]),
        )
        for row in rows
    }
    return tuple(one for one in every_move(kernels, cpus, orders, intos) if one in chosen)
