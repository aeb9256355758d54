"""The report formats; each is a module here, which defines FORMAT."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvmprobe.reports.report_format import ReportFormat


def names() -> tuple[str, ...]:
    """Return the names of all formats, without importing them."""
    return tuple(module.name for module in pkgutil.iter_modules(__path__))


def format_of(name: str) -> ReportFormat:
    """Return a format by its name."""
    found: ReportFormat = import_module(f"{__name__}.{name}").FORMAT
    return found


def described() -> str:
    """Return a description of each format, for the help."""
    width = max(map(len, names()))
    lines = []
    for name in names():
        first, *others = format_of(name).summary.splitlines()
        lines += [f"  {name:{width}}  {first}", *(f"  {'':{width}}  {line}" for line in others)]
    return "".join(f"{line}\n" for line in lines)
