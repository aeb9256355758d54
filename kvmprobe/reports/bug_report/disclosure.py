"""Whether a failure is new, and who gets the report.

:see: Linux Documentation/process/security-bugs.rst, threat-model.rst, stable-kernel-rules.rst,
    Documentation/admin-guide/reporting-issues.rst
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from kvmprobe.reports.bug_report.recipients import SECURITY, STABLE, contact_for
from kvmprobe.reports.values import call_name
from kvmprobe.results.known import known_defects
from kvmprobe.results.releases import series_of
from kvmprobe.scenarios.scenario import Need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.reports.bug_report.case import Case
    from kvmprobe.results.known import KnownDefect


class Standing(Enum):
    """Whether a failure is known, reported and fixed."""

    UNKNOWN = "no known defect predicts it"
    UNREPORTED = "a known defect of kvmprobe without a public report"
    REPORTED = "reported in public"
    FIXED = "fixed in later kernels of the same series, or in later series"
    NOT_BACKPORTED = "fixed, but not in this stable series"
    RETURNED = "fixed in this release, but it shows again"


class Audience(Enum):
    """Who gets the report first."""

    PRIVATE = "maintainers, with the security team in Cc:"
    PUBLIC = "maintainers and lists"
    STABLE = "the stable team, maintainers and lists"
    NOBODY = "nobody: it is fixed"


@dataclass(frozen=True, slots=True)
class Disclosure:
    """The recipients of a report.

    :ivar to: addresses; empty if nobody needs the report
    """

    standing: Standing
    audience: Audience
    to: tuple[str, ...]
    cc: tuple[str, ...]


def disclosure_of(case: Case) -> Disclosure:
    """Return the recipients of a report about a case."""
    standing = standing_of(case)
    audience = _audience(case, standing)
    contact = contact_for(files_at_fault(case))
    match audience:
        case Audience.PRIVATE:
            return Disclosure(standing, audience, contact.people, (SECURITY,))
        case Audience.PUBLIC:
            return Disclosure(standing, audience, contact.people, contact.lists)
        case Audience.STABLE:
            return Disclosure(standing, audience, (STABLE,), (*contact.people, *contact.lists))
        case Audience.NOBODY:
            return Disclosure(standing, audience, (), ())


def standing_of(case: Case) -> Standing:
    """Return the standing of a failure; of several known defects, the most urgent one."""
    found = [_of_defect(defect, case.record.target.kernel) for defect in case.defects]
    order = (
        Standing.UNREPORTED,
        Standing.RETURNED,
        Standing.REPORTED,
        Standing.NOT_BACKPORTED,
        Standing.FIXED,
    )
    return min(found, key=order.index, default=Standing.UNKNOWN)


def files_at_fault(case: Case) -> tuple[str, ...]:
    """Return paths in the kernel's source: those of the known defects, or of the broken rule."""
    known = dict.fromkeys(path for defect in case.defects for path in defect.files)
    cited = [path for d in case.record.divergences[:1] for path in d.rule.kernel_files]
    return tuple(known or cited)


def _of_defect(defect: KnownDefect, kernel: str) -> Standing:
    if not defect.fixed_in:
        return Standing.REPORTED if defect.reported else Standing.UNREPORTED
    if defect.is_fixed_in(kernel):
        return Standing.RETURNED
    return Standing.NOT_BACKPORTED if lacking_series(defect, kernel) else Standing.FIXED


def lacking_series(defect: KnownDefect, kernel: str) -> str:
    """Return the kernel's stable series if it lacks the fix: ``6.1.y``."""
    return next((s for s in defect.unfixed_series if series_of(s) == series_of(kernel)), "")


def _audience(case: Case, standing: Standing) -> Audience:
    privileged = case.needs is not None and Need.PRIVILEGE in case.needs
    match standing:
        case Standing.FIXED:
            return Audience.NOBODY
        case Standing.NOT_BACKPORTED:
            return Audience.STABLE
        case Standing.REPORTED:
            return Audience.PUBLIC
        case _ if case.host_dies and not privileged:
            return Audience.PRIVATE
        case _:
            return Audience.PUBLIC


def advice(case: Case, disclosure: Disclosure) -> list[str]:
    """Return paragraphs for the sender: whether it is new, who gets it, what to check."""
    return [" ".join(_news(case, disclosure.standing)), *_routes(case, disclosure)]


def _news(case: Case, standing: Standing) -> Iterator[str]:
    what = "crash" if case.host_dies else "failure"
    kernel = case.record.target.kernel
    if standing is Standing.UNKNOWN:
        yield f"This {what} looks unreported: no known defect predicts it."
        yield from _alike(case)
    for defect in case.defects:
        of_this = _of_defect(defect, kernel)
        name = f"{defect.id} ({defect.cve})" if defect.cve else defect.id
        fixed = f"fixed in {', '.join(defect.fixed_in)} by {defect.reference}"
        match of_this:
            case Standing.REPORTED:
                yield f"This {what} is known and public: {name}, {defect.reported}."
            case Standing.FIXED:
                yield f"This {what} is not new: {name}, {fixed}."
            case Standing.NOT_BACKPORTED:
                series = lacking_series(defect, kernel)
                yield f"This {what} is not new: {name}, {fixed}.  {series} lacks the fix."
            case Standing.RETURNED:
                yield f"This {what} looks unreported: {name} was {fixed}, and {kernel} shows it."
            case _:
                yield (
                    f"This {what} looks unreported: it is {name} of the known defects, and no "
                    "public report of that is known."
                )


def _alike(case: Case) -> Iterator[str]:
    """Yield the known defects that panic in the same function."""
    function = case.record.crash.function if case.record.crash else ""
    ids = [d.id for d in known_defects().values() if function and d.panics_in == function]
    if ids:
        yield f"Compare {' and '.join(sorted(ids))}: the same panic in {function}."


def _routes(case: Case, disclosure: Disclosure) -> Iterator[str]:
    match disclosure.audience:
        case Audience.PRIVATE:
            yield (
                "Send it PRIVATELY, to the maintainers with security@kernel.org in Cc:, and to no "
                "public list: anyone who may open /dev/kvm can panic the host with it "
                "(Documentation/process/security-bugs.rst).  Publish neither reproducer nor "
                "output before they have answered."
            )
            yield (
                "If AI helped to find it, the same document (since Linux 7.1) wants it treated as "
                "public: then add the lists, leave the reproducer out (--reproducer FILE), and "
                "say that there is one."
            )
        case Audience.PUBLIC:
            yield "This is an ordinary bug: send the report to the maintainers and their lists."
        case Audience.STABLE:
            yield (
                "The report asks the stable team for the fix (option 2 of "
                "Documentation/process/stable-kernel-rules.rst).  Check that it applies there."
            )
        case Audience.NOBODY:
            yield "Nobody needs a report: update the kernel, or notify the distribution."
            return
    yield from _before_sending(case, disclosure)


def _before_sending(case: Case, disclosure: Disclosure) -> Iterator[str]:
    if case.record.target.emulated and disclosure.audience is Audience.PRIVATE:
        yield (
            "Reproduce it on silicon first: this was an emulated CPU, and a bug that only an "
            "emulator shows is outside the kernel's threat model "
            "(Documentation/process/threat-model.rst)."
        )
    elif case.record.target.emulated:
        yield "Reproduce it on silicon first: this was an emulated CPU, which could be wrong."
    if len(case.defects) > 1:
        ids = ", ".join(defect.id for defect in case.defects)
        yield f"It shows several defects ({ids}): better report each with a scenario of its own."
    if disclosure.audience is not Audience.STABLE:
        yield (
            f"Search lore.kernel.org for {_search_terms(case)}, and try the newest mainline or "
            "stable kernel."
        )
    files = " ".join(files_at_fault(case)) or "FILE"
    yield f"Check the addresses: scripts/get_maintainer.pl --no-l --no-r {files}"


def _search_terms(case: Case) -> str:
    crash = case.record.crash
    if crash and crash.function:
        return f'{crash.function} "{_exception(crash.headline)}"'
    calls = [call_name(d.call) for d in case.record.divergences[:1] if d.call]
    files = [path.rpartition("/")[2] for path in files_at_fault(case)[:1]]
    return " ".join([*calls, *files]) or "KVM FPU"


def _exception(headline: str) -> str:
    """Return the part of a headline to search for, without the counters after it."""
    return headline.removeprefix("Oops: ").partition(":")[0]
