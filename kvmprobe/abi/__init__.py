"""Numbers of the user-space ABI: ioctls, capabilities, arch_prctl codes, MSRs, exit reasons.

Layer: abi, pure.
"""
