"""What processors show of the user-space programs of ``lab/programs``, recorded.

``scripts/record_silicon`` runs them and writes the entry of this processor to ``lab/silicon.json``.
``scripts/record_silicon FILE`` writes that of the emulated one: FILE has the lines that
``freedoms_user`` printed there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from kvmprobe.bindings import host_cpu
from tests.support.conformance import SOURCES, compiled

EMULATED = "emulated"
RECORDS = SOURCES.parent / "silicon.json"
PROGRAMS = ("xsave_user", "amx_user", "freedoms_user")
_DIGITS = 16


def signature():
    """CPUID.1:EAX: family, model and stepping."""
    return f"{host_cpu.signature():#010x}"


def source_of(program):
    """Digits of a hash of a program's source and its headers."""
    files = (SOURCES / f"{program}.c", *sorted(SOURCES.glob("*.h")))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:_DIGITS]


def shown_by(path):
    """Run a program; return its lines by kind: ok, not ok, skip, shows."""
    ended = subprocess.run([path], capture_output=True, text=True, timeout=60, check=False)
    found = by_kind(ended.stdout.splitlines())
    assert ended.returncode == bool(found["not ok"]), (ended.returncode, ended.stdout)
    return found


def by_kind(lines):
    """Return a program's lines by kind."""
    found = {"ok": [], "not ok": [], "skip": [], "shows": []}
    for line in lines:
        kind = next(kind for kind in found if line.startswith(f"{kind} "))
        found[kind].append(line.removeprefix(f"{kind} "))
    return found


def record_of(shown):
    """Return what is kept of the lines: a count, all but those that are ok, and the source."""
    return {
        "vendor": host_cpu.vendor(),
        "brand": host_cpu.brand(),
        "xcr0": f"{host_cpu.xcr0():#x}",
        "programs": {
            program: {**lines, "ok": len(lines["ok"]), "source": source_of(program)}
            for program, lines in shown.items()
        },
    }


def records():
    """Return what has been recorded, by signature."""
    return json.loads(RECORDS.read_text(encoding="utf-8"))


def emulated(lines):
    """Return the record of the emulated processor."""
    found = by_kind(lines)
    return {
        "vendor": "GenuineIntel",
        "brand": "Bochs, Sapphire Rapids",
        "xcr0": "0x602e7",
        "programs": {"freedoms_user": {**found, "ok": len(found["ok"])}},
    }


def main():
    if sys.argv[1:]:
        lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
        write(EMULATED, emulated(lines))
        return
    with tempfile.TemporaryDirectory() as folder:
        shown = {program: shown_by(compiled(program, Path(folder))) for program in PROGRAMS}
    write(signature(), record_of(shown))


def write(name, record):
    known = records() | {name: record}
    RECORDS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.stdout.write(f"{RECORDS}: recorded {name}\n")


if __name__ == "__main__":
    main()
