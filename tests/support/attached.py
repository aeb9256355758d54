"""The example files that people could attach: templates and a dump, by name."""

from pathlib import Path

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = {file.name: file.read_bytes() for file in sorted(FOLDER.iterdir())}
DUMP = ("dump-cpuid.txt", "dump-sregs.bin", "dump-xsave.bin")
