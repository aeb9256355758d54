"""The page: one text with template, style and script.

All text from a target is escaped by jinja2 or by its ``tojson``, whose output is safe in a script
element; the script of the page creates elements and text nodes, never markup.  The content security
policy forbids other scripts and all requests.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from kvmprobe import __version__
from kvmprobe.reports.host_facts import host_facts
from kvmprobe.reports.html_report import picture
from kvmprobe.reports.html_report.columns import columns_of, scenario_ids
from kvmprobe.reports.html_report.coverage import covered_by, kernels_covered
from kvmprobe.reports.html_report.growth import growths
from kvmprobe.reports.html_report.payload import payload
from kvmprobe.reports.html_report.summary import (
    checker_findings,
    kinds_of_failure,
    reasons_skipped,
    verdict_counts,
)
from kvmprobe.results.run_document import Ending
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.scenario_id import family_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.results.run_document import RunDocument

_PAGE = "page"
_SHOWN_KINDS = 5
# Filtered out at first, if there are other verdicts.
_QUIET = frozenset({Verdict.PASS, Verdict.SKIPPED})
# In order of their dependencies; the last one starts the page.
_SCRIPTS = (
    "data.js",
    "elements.js",
    "registers.js",
    "timeline.js",
    "image_map.js",
    "console_log.js",
    "steps.js",
    "detail.js",
    "filters.js",
    "grid.js",
    "orders.js",
    "scenarios.js",
    "start.js",
)


def page(runs: Sequence[RunDocument]) -> str:
    """Return the page for some runs."""
    columns = columns_of(runs)
    ids = scenario_ids(columns)
    covered = covered_by(runs)
    counts = verdict_counts(columns)
    kinds = kinds_of_failure(columns)
    of_defects = Counter(kind.known for kind in kinds)
    text = _template().render(
        version=__version__,
        runs=runs,
        moment=_moment,
        quoted=shlex.join,
        dated=any(run.began for run in runs),
        environment=host_facts(*(c.run.environments.get(c.target, {}) for c in columns)),
        unfinished=[r for r in runs if r.ending is Ending.CUT_SHORT or r.not_completed],
        columns=columns,
        scenario_count=len(ids),
        verdicts=[v for v in Verdict if any(count[v] for count in counts)],
        counts=counts,
        skipped=reasons_skipped(columns),
        kinds=kinds,
        shown_kinds=_SHOWN_KINDS,
        ticked=[v for v in Verdict if v not in _QUIET or not kinds],
        hidden_kinds=sum(max(0, n - _SHOWN_KINDS) for n in of_defects.values()),
        checkers=checker_findings(columns),
        frame=picture,
        growth=growths(runs, covered),
        coverage=kernels_covered(covered),
        families=list(dict.fromkeys(map(family_of, ids))),
        defects=sorted({d for c in columns for r in c.records for d in r.known}),
        payload=payload(columns, ids),
    )
    # JSON can have half a surrogate pair, which UTF-8 cannot encode.
    return text.encode("utf-8", "backslashreplace").decode()


@cache
def _template() -> Template:
    style = _part("style.css")
    body = "".join(_part(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{body}}})();\n'
    jinja = Environment(
        loader=PackageLoader("kvmprobe.reports.html_report", _PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    # Style and script are markup; they are files of the project.
    jinja.globals |= {"style": style, "script": script, "policy": _policy(style, script)}
    return jinja.get_template("page.html.j2")


def _moment(time: str) -> str:
    """Return a time for people; the heading has the time zone."""
    return time.replace("T", " ").removesuffix("Z")


def _part(name: str) -> str:
    return (files("kvmprobe.reports.html_report") / _PAGE / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
