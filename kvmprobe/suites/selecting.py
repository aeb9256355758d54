"""Which tests of a suite are run.  Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kvmprobe.suites.selftest import Selftest

_SHOWN = 20


def selected(
    tests: Sequence[Selftest], select: Sequence[str], exclude: Sequence[str]
) -> tuple[Selftest, ...]:
    """Return the tests whose id or name matches a glob of ``select`` and none of ``exclude``.

    Without ``select`` these are the ones that run by default.

    :raises UsageError: no test is left
    """
    chosen = [t for t in tests if (_matches(t, select) if select else t.by_default)]
    left = tuple(test for test in chosen if not _matches(test, exclude))
    if chosen and not left:
        raise UsageError("--exclude leaves no test to run")
    if not left:
        names = ", ".join(test.id for test in tests[:_SHOWN])
        raise UsageError(f"no test matches {', '.join(select)}; there are {names}, ...")
    return left


def without_a_match(tests: Sequence[Selftest], globs: Iterable[str]) -> list[str]:
    """Return the globs that no test matches: not every source has every test."""
    return [glob for glob in globs if not any(_matches(test, [glob]) for test in tests)]


def _matches(test: Selftest, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(test.id, glob) or fnmatchcase(test.name, glob) for glob in globs)
