"""The executor, in C and assembly: issues a scenario's lowered calls.  Layer: above abi.

``shared/`` has the code that reproducers also contain; see README.md.
"""

from pathlib import Path

PROGRAM = Path(__file__).parent / "zygote"
"""The program that the worker executes; it runs scenarios."""
RECORDER = Path(__file__).parent / "recorder"
"""The program that :mod:`kvmprobe.tracer` executes; it traces another program."""
