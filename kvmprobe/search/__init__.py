"""Scenarios that nobody wrote.  Layer: search, above scenarios.

Pure: chance comes in as a ``random.Random``.
"""
