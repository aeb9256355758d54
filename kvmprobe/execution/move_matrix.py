"""Makes the moves of a matrix: each host saves its guests, then takes those of the others."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import as_completed
from dataclasses import replace
from typing import TYPE_CHECKING

from kvmprobe.errors import KvmprobeError
from kvmprobe.execution.migrating import Move
from kvmprobe.moves.cells import Cell, MovedGuest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kvmprobe.execution.migrating import MovingHost
    from kvmprobe.execution.moving_hosts import MovingHosts
    from kvmprobe.moves.guests import Use
    from kvmprobe.moves.planning import Host, Planned
    from kvmprobe.progress import Progress
    from kvmprobe.scenarios.presets import Preset

_NO_RESULT = "no result"


class MoveMatrix:
    """The moves of a matrix, and the guests that were saved for them."""

    def __init__(
        self, hosts: MovingHosts, orders: Mapping[str, Preset], planned: Sequence[Planned]
    ) -> None:
        """Plan it.

        :param hosts: none of which has been booted
        :param orders: by name
        """
        self._hosts = hosts
        self._orders = orders
        self._planned = planned
        self._guests: dict[tuple[Host, str, Use], MovedGuest | str] = {}

    def run(self, jobs: int, progress: Progress) -> list[Cell]:
        """Make the moves; return a cell for each, in the order in which they are planned.

        :param jobs: how many hosts work at the same time
        """
        hosts = tuple(dict.fromkeys(host for one in self._planned for host in one[:2]))
        self._hosts.boot(hosts, jobs, self._save)
        by_target: dict[Host, list[Planned]] = defaultdict(list)
        for one in self._planned:
            by_target[one.target].append(one)
        found: dict[Planned, list[Cell]] = {}
        progress.stage(f"moves of guests to {len(by_target)} hosts")
        with self._hosts.threads(jobs, "kvmprobe-move") as pool:
            futures = [pool.submit(self._restore, *target) for target in by_target.items()]
            for done in as_completed(futures):
                found |= done.result()
                progress.advance(len(found), len(self._planned))
        return [cell for one in self._planned for cell in found[one]]

    def _save(self, host: Host, ready: MovingHost) -> None:
        wanted = dict.fromkeys(one.order for one in self._planned if one.source == host)
        for (order, use), found in ready.save([self._orders[name] for name in wanted]).items():
            self._guests[host, order, use] = found

    def _restore(self, target: Host, planned: Sequence[Planned]) -> dict[Planned, list[Cell]]:
        """Return the cells of all moves to a target; one that has no result says so."""
        found = {one: list(self._cells(one)) for one in planned}
        moves = {
            (one, cell.use): Move(guest, one.into)
            for one, cells in found.items()
            for cell in cells
            if isinstance(guest := self._guest(one, cell), MovedGuest)
        }
        if not moves:
            return found
        try:
            ran = self._hosts.opened(target).restore(list(moves.values()))
        except KvmprobeError as error:
            return {one: _not_run(cells, str(error)) for one, cells in found.items()}
        results = dict(zip(moves, ran, strict=False))
        return {
            one: [results.get((one, cell.use), cell) for cell in cells]
            for one, cells in found.items()
        }

    def _cells(self, one: Planned) -> Iterator[Cell]:
        """Yield the cells of a planned move, before it is made."""
        hosts = self._hosts
        move = Cell(hosts.name(one.source), hosts.name(one.target), one.order, one.into)
        for host in one[:2]:
            if host in hosts.refused:
                yield replace(move, refused=f"{hosts.name(host)}: {hosts.refused[host]}")
                return
            if host in hosts.failed:
                yield replace(move, why_not=f"{hosts.name(host)}: {hosts.failed[host]}")
                return
        for use in hosts.ready[one.source].uses(self._orders[one.order]):
            guest = self._guests.get((one.source, one.order, use), _NO_RESULT)
            why_not = guest if isinstance(guest, str) else _NO_RESULT
            yield replace(move, use=use, why_not=why_not)

    def _guest(self, one: Planned, cell: Cell) -> MovedGuest | str | None:
        return self._guests.get((one.source, one.order, cell.use)) if cell.use else None


def _not_run(cells: Iterable[Cell], why_not: str) -> list[Cell]:
    return [cell if cell.refused else replace(cell, why_not=why_not) for cell in cells]
