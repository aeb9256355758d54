"""The page: template, style and script put into one text.

Everything that came from a target passes through jinja2's escaping or its ``tojson``, which is safe
inside a script element; the page's own script builds elements and texts, never markup.  A content
security policy lets nothing else run and nothing be fetched.
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
from kvmprobe.reports.html_report.columns import columns_of, scenario_ids
from kvmprobe.reports.html_report.coverage import kernels_covered
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
# Not listed at first where there is something else.
_QUIET = frozenset({Verdict.PASS, Verdict.SKIPPED})
# In the order in which they use one another; the last one starts.
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
    """Return the whole page of some runs."""
    columns = columns_of(runs)
    ids = scenario_ids(columns)
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
        coverage=kernels_covered(runs),
        families=list(dict.fromkeys(map(family_of, ids))),
        defects=sorted({d for c in columns for r in c.records for d in r.known}),
        payload=payload(columns, ids),
    )
    # Half a surrogate pair, which JSON can hold, has no UTF-8.
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
    # Only these two are markup: they are the project's own files.
    jinja.globals |= {"style": style, "script": script, "policy": _policy(style, script)}
    return jinja.get_template("page.html.j2")


def _moment(time: str) -> str:
    """Return a time as people write it; the page says that it is UTC."""
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
