"""The executor, in C and assembly: issues a scenario's lowered calls.  Layer: above abi.

``shared/`` holds what reproducers also contain; see README.md.
"""
