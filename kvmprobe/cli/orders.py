"""A user's restore orders, which ``kvmprobe run --order`` runs instead of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.cli.scenario import keep_one
from kvmprobe.errors import UsageError
from kvmprobe.scenarios.catalog.vmm import restoring
from kvmprobe.scenarios.presets import presets, read_preset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from kvmprobe.cli.session import Listed
    from kvmprobe.model.host import HostProfile
    from kvmprobe.scenarios.presets import Preset
    from kvmprobe.scenarios.scenario import Scenario

_KEPT = "orders"


def read_orders(paths: Iterable[Path]) -> list[Preset]:
    """Return the orders in files.

    :raises UsageError: a file has none, or two have one name
    """
    found: dict[str, Preset] = {}
    built_in = {preset.name for preset in presets()}
    for path in paths:
        preset = read_preset(path)
        if preset.name in built_in:
            raise UsageError(
                f"{path}: {preset.name!r} is an order of the catalogue, which "
                f"--select 'vmm.{preset.name}.*' runs; rename the file"
            )
        if preset.name in found:
            raise UsageError(f"{path}: another file is called {preset.name!r} as well; rename one")
        found[preset.name] = preset
    return list(found.values())


def planned(orders: Iterable[Preset]) -> list[str]:
    """Return the ids of the scenarios that restore in these orders."""
    return [f"vmm.{order.name}.{state}" for order in orders for state in order.states]


def listing(orders: Sequence[Preset], run: Path) -> Listed:
    """Return a function that lists those scenarios for a host, and keeps them in a run's directory.

    ``repro``, ``explain`` and ``bugreport`` find them there.
    """

    def listed(host: HostProfile) -> Sequence[Scenario]:
        found = [scenario for order in orders for scenario in restoring(order, host)]
        for scenario in found:
            keep_one(run, scenario)
        return found

    return listed


def keep(orders: Iterable[Path], run: Path) -> None:
    """Copy the files to a run's directory, where ``resume`` finds them.

    :raises UsageError: they cannot be written
    """
    folder = run / _KEPT
    try:
        folder.mkdir()
        for path in orders:
            (folder / path.name).write_bytes(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error


def kept(run: Path) -> list[Preset]:
    """Return the orders of a run; none if it is of the catalogue."""
    return read_orders(sorted((run / _KEPT).glob("*")))
