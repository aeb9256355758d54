"""Random scenarios.  Layer: search, above scenarios.

Pure: the source of randomness is an argument, a ``random.Random``.
"""
