"""``kvmprobe lab kernels``, ``lab fetch`` and ``lab prune``: the kernels of the emulated host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvmprobe.cli.archives import archives_of
from kvmprobe.cli.grammar.shared import Number, add_archive
from kvmprobe.cli.terminal import print_line, progress
from kvmprobe.errors import ExitCode, LabError, UsageError
from kvmprobe.lab import kernel_catalog, kernel_store, kernels, saved
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.kernel_offers import offers
from kvmprobe.lab.kernel_sets import specs_of
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from kvmprobe.lab.kernel_offers import Offer

SCHEMA = "kvmprobe-kernels/1"
_MIB = 1 << 20
_DAY = 24 * 3600.0
_HEAD = ("version", "release", "suites", "MB", "KVM modules", "-dbg", "cache")


def add_listing(listing: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lab kernels``."""
    add_archive(listing)
    listing.add_argument("--json", action="store_true", help="as a JSON document")


def add_fetching(fetching: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lab fetch``."""
    fetching.add_argument(
        "kernels",
        nargs="+",
        metavar="SPEC",
        help="a kernel as --kernel of other commands has it, newest-of-each for the newest "
        "packaged kernel of each series, or all",
    )
    add_archive(fetching)


def add_pruning(pruning: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lab prune``."""
    pruning.add_argument(
        "--keep",
        type=Number(int, 0, 1 << 20, "MiB"),
        metavar="MIB",
        default=0,
        help="keep the most recently used ones, up to so much disk space (default: %(default)s)",
    )
    pruning.add_argument(
        "--unused-kernels",
        type=Number(float, 0, 36500, "days"),
        metavar="DAYS",
        help="also remove the kernels that no command has used for DAYS days, and damaged ones; "
        "they are fetched again when they are needed (default: keep them)",
    )
    pruning.add_argument(
        "--dry-run", action="store_true", help="print what would be removed, and remove nothing"
    )


def list_kernels(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Print what the archives offer and the cache has; without archives, what the cache has."""
    archives, code = archives_of(arguments), ExitCode.OK
    entries = kernel_store.entries(archives.cache)
    try:
        with progress() as status:
            found = offers(archives.packages(kernel_catalog.PREFIXES, status), entries)
    except LabError as error:
        print_line(f"kvmprobe: only what the cache has: {error}")
        found, code = offers((), entries), ExitCode(error.exit_code)
    print_lines(console, [_document(found)] if arguments.json else _table(found))
    return code


def fetch(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Fetch kernels; one that cannot be fetched is named, and the others are fetched.

    :raises UsageError: a SPEC is wrong, after the others were fetched
    :raises LabError: a set of kernels is wanted, and the package lists are not available
    """
    archives, failed = archives_of(arguments), ExitCode.OK
    with progress() as status:
        for spec in specs_of(arguments.kernels, archives, status):
            try:
                kernel = kernels.resolve(spec, modules_dir=None, archives=archives, progress=status)
            except (LabError, UsageError) as error:
                print_line(f"kvmprobe: {spec}: {error}")
                failed = max(failed, ExitCode(error.exit_code))
                continue
            where = kernel.vmlinuz.parent
            print_lines(console, [f"{spec}: {kernel.source}, verified: {where}"])
    return failed


def prune(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Remove saved machines, and kernels that nothing uses."""
    cache, days = Cache.from_environment(), arguments.unused_kernels
    templates = saved.excess(cache, arguments.keep * _MIB)
    entries = () if days is None else kernel_store.unneeded(cache, days * _DAY)
    if not arguments.dry_run:
        for template in templates:
            saved.remove(template)
        for entry in entries:
            kernel_store.remove(entry)
    verb = "would remove" if arguments.dry_run else "removed"
    parts = [("saved machine", item.path, item.nbytes) for item in templates]
    parts += [(f"kernel {item.label or '?'}", item.path, item.nbytes) for item in entries]
    lines = [f"{verb} {what} {path} ({nbytes / _MIB:.0f} MiB)" for what, path, nbytes in parts]
    total = sum(nbytes for *_, nbytes in parts)
    print_lines(console, [*lines, f"{verb} {total / _MIB:.0f} MiB"] if lines else [_NOTHING])
    return ExitCode.OK


_NOTHING = "there is nothing to remove"


def _document(found: Sequence[Offer]) -> str:
    return json.dumps({"schema": SCHEMA, "kernels": list(map(_data, found))}, indent=1)


def _data(offer: Offer) -> dict[str, Any]:
    kept = offer.kept
    return {
        "version": offer.label,
        "release": offer.release,
        "package_version": offer.version,
        "suites": offer.suites,
        "bytes": offer.nbytes,
        "kvm_modules": offer.has_modules,
        "dbg": offer.has_debug,
        "cached": kept
        and {
            "path": str(kept.path),
            "bytes": kept.nbytes,
            "source": kept.source,
            "verified": not kept.damaged,
            "damaged": [str(path) for path in kept.damaged],
        },
    }


def _table(found: Sequence[Offer]) -> Iterator[str]:
    rows = [_HEAD, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
    damaged = [(offer, path) for offer in found if offer.kept for path in offer.kept.damaged]
    for offer, path in damaged:
        again = offer.release if offer.version else ""
        advice = f"`kvmprobe lab fetch {again}` fetches it again" if again else "no archive has it"
        yield f"damaged: {path}: {_reason(path)}; {advice}"


def _reason(path: Path) -> str:
    return "its SHA-256 is not that of its manifest" if path.exists() else "missing"


def _row(offer: Offer) -> tuple[str, ...]:
    kept = "no"
    if offer.kept is not None:
        kept = "damaged" if offer.kept.damaged else f"verified, {offer.kept.nbytes / 1e6:.0f} MB"
    return (
        offer.label or "?",
        offer.release or "?",
        ", ".join(offer.suites) or "in no archive",
        f"{offer.nbytes / 1e6:.0f}" if offer.nbytes else "-",
        "yes" if offer.has_modules else "not listed",
        "yes" if offer.has_debug else "no",
        kept,
    )
