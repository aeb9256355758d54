"""How many names one scenario may bind, and how much the executor keeps.  Layer: abi, pure.

The executor's arrays have these sizes (:mod:`kvmprobe.abi.c_constants`).
"""

MOST_DESCRIPTORS = 32
MOST_CAPTURES = 64
MOST_MEMORIES = 8
MOST_TASKS = 8
MOST_NAMES = max(MOST_DESCRIPTORS, MOST_CAPTURES, MOST_MEMORIES, MOST_TASKS)
# Calls, and an end for each step.
MOST_ADDRESSES = 4096
# Definitions: their number, and bytes for them.  The driver starts again before it reaches either.
MOST_CALLS = 16384
ARENA_SIZE = 1 << 26
# Outputs that are reported by number: for each call, and bytes for all; new ones in one step.
MOST_KNOWN = 64
KNOWN_SIZE = 1 << 25
MOST_UNREPORTED = 64
