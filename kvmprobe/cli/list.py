"""``kvmprobe list``: the selected scenarios, and their traits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvmprobe.cli.grammar.epilogs import FAMILIES, end_with
from kvmprobe.cli.grammar.selection import SELECTION_HELP, add_selection
from kvmprobe.cli.select import wanted
from kvmprobe.cli.traits import Traits, catalogue
from kvmprobe.errors import ExitCode
from kvmprobe.reports.entries import entry_lines
from kvmprobe.scenarios.traits import needs

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

SCHEMA = "kvmprobe-list/1"
_COLUMN = 11


def add_arguments(listing: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    end_with(listing, SELECTION_HELP, FAMILIES)
    add_selection(listing)
    form = listing.add_mutually_exclusive_group()
    form.add_argument(
        "--long",
        action="store_true",
        help="with tags, needs, ops, hazards and shown defects",
    )
    form.add_argument("--json", action="store_true", help="the same as a JSON document")


def run(arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Print ids; with ``--long`` or ``--json`` the traits of each scenario, one by one."""
    chosen = wanted(arguments.select, arguments.exclude)
    listed = [traits for traits in catalogue() if chosen(traits.scenario.id)]
    if arguments.json:
        _print_json(listed)
    elif arguments.long:
        for traits in listed:
            print("\n".join(long_lines(traits)), flush=True)
    else:
        print("\n".join(traits.scenario.id for traits in listed))
    return ExitCode.OK


def long_lines(traits: Traits) -> list[str]:
    """Return a scenario's id and, indented, its traits."""
    hazard = traits.hazard
    fatal = ""
    if hazard is not None:
        op = traits.scenario.steps[hazard.step].op.text
        fatal = f"{', '.join(traits.hazard_ids)}: step {hazard.step}, {op}: {hazard.reason}"
    fields = {
        "tags": " ".join(traits.tags),
        "needs": " ".join(needs(traits.scenario)),
        "ops": " ".join(traits.ops),
        "hazards": fatal,
        "defects": " ".join(traits.defects),
    }
    return [traits.scenario.id, *entry_lines(fields, _COLUMN)]


def as_json(traits: Traits) -> dict[str, Any]:
    """Return the traits as JSON-ready data."""
    hazard = traits.hazard
    return {
        "id": traits.scenario.id,
        "family": traits.scenario.family,
        "tags": traits.tags,
        "needs": needs(traits.scenario),
        "ops": traits.ops,
        "steps": len(traits.scenario.steps),
        "hazards": [{"step": hazard.step, "defects": traits.hazard_ids, "reason": hazard.reason}]
        if hazard
        else [],
        "defects": traits.defects,
    }


def _print_json(listed: list[Traits]) -> None:
    """Print one document, with one scenario in each line."""
    print(f'{{"schema": {json.dumps(SCHEMA)}, "scenarios": [')
    for number, traits in enumerate(listed, start=1):
        print(json.dumps(as_json(traits)) + ("," if number < len(listed) else ""), flush=True)
    print("]}")
