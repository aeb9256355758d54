"""Which basic blocks of a kernel's functions scenarios reach, and why the others are not reached.

The emulated host reports blocks (``lab.coverage``); this package knows which functions are in
scope, finds their blocks, and adds up what was reached.
"""
