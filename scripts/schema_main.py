"""Writes ``kvmprobe/scenarios/scenario-1.schema.json``; see ``scripts/scenario_schema``."""

from __future__ import annotations

import json
from pathlib import Path

from kvmprobe.scenarios.document_schema import document_schema

FILE = Path(__file__).parents[1] / "kvmprobe/scenarios/scenario-1.schema.json"

if __name__ == "__main__":
    FILE.write_text(json.dumps(document_schema(), indent=1) + "\n")
