"""How many names of each kind one scenario may bind.  Layer: abi, pure.

The executor's arrays have these sizes (:mod:`kvmprobe.abi.c_constants`).
"""

MOST_DESCRIPTORS = 32
MOST_CAPTURES = 64
MOST_MEMORIES = 8
MOST_TASKS = 8
MOST_NAMES = max(MOST_DESCRIPTORS, MOST_CAPTURES, MOST_MEMORIES, MOST_TASKS)
# Calls, and an end for each step.
MOST_ADDRESSES = 4096
