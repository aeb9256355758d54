"""What the host's own processor shows of the user-space programs of ``lab/programs``, recorded.

``scripts/record_silicon`` runs them and writes the entry of this processor to ``lab/silicon.json``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from kvmprobe.bindings import host_cpu
from tests.support.conformance import SOURCES, compiled

RECORDS = SOURCES.parent / "silicon.json"
PROGRAMS = ("xsave_user", "amx_user")


def signature():
    """CPUID.1:EAX: family, model and stepping."""
    return f"{host_cpu.signature():#010x}"


def shown_by(path):
    """Run a program; return its lines by kind: ok, not ok, skip."""
    ended = subprocess.run([path], capture_output=True, text=True, timeout=60, check=False)
    found = {"ok": [], "not ok": [], "skip": []}
    for line in ended.stdout.splitlines():
        kind = next(kind for kind in found if line.startswith(f"{kind} "))
        found[kind].append(line.removeprefix(f"{kind} "))
    assert ended.returncode == bool(found["not ok"]), (ended.returncode, ended.stdout)
    return found


def record_of(shown):
    """Return what is kept of the programs' lines: a count, and the lines that are not ok."""
    return {
        "vendor": host_cpu.vendor(),
        "brand": host_cpu.brand(),
        "xcr0": f"{host_cpu.xcr0():#x}",
        "programs": {
            program: {"ok": len(lines["ok"]), "skip": lines["skip"], "not ok": lines["not ok"]}
            for program, lines in shown.items()
        },
    }


def records():
    """Return what has been recorded, by signature."""
    return json.loads(RECORDS.read_text(encoding="utf-8"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        shown = {program: shown_by(compiled(program, Path(folder))) for program in PROGRAMS}
    known = records() | {signature(): record_of(shown)}
    RECORDS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(f"{RECORDS}: recorded {signature()}\n")


if __name__ == "__main__":
    main()
