"""What the whole catalogue reaches of kernels: tests/lab/reached.json, made from runs of it.

python -m tests.support.reached RUN...     # of `kvmprobe run --kernel KERNEL --coverage`
"""

import hashlib
import json
import sys
from pathlib import Path

from kvmprobe.coverage.measured import Measured
from kvmprobe.coverage.of_run import coverage_of_directory
from kvmprobe.coverage.reached import pack, unpack

FILE = Path(__file__).parents[1] / "lab" / "reached.json"


def digest(measured):
    """Return a hash of the places of all blocks."""
    places = [measured.disassembly.place(block) for block in measured.blocks]
    return hashlib.sha256("\n".join(places).encode()).hexdigest()


def stored(kernel, functions):
    """Return what the catalogue reached of a kernel whose functions have been read.

    :raises LookupError: the functions in scope are others than when it was stored
    """
    entry = json.loads(FILE.read_text())[kernel]
    found = Measured.of(functions, {"the whole catalogue": unpack(entry["reached"])})
    if digest(found) != entry["blocks"]:
        raise LookupError(f"{FILE}: of other functions of {kernel}: run the catalogue again")
    return found


def main(paths):
    content = {}
    for path in paths:
        for target, measured in coverage_of_directory(Path(path)).items():
            size = -(-len(measured.blocks) // 8)
            bits = measured.reached.to_bytes(size, "little")
            content[target.kernel] = {"blocks": digest(measured), "reached": pack(bits)}
    FILE.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
