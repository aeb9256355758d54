"""Recordings of a program's KVM calls: the format, its reader and its writer.  Layer: recordings.

``FORMAT.md`` describes the format.  The package is pure: it knows no kernel and makes no call.
"""
