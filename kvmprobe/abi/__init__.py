"""The user-space ABI: ioctls, capabilities, arch_prctl codes, MSRs, exit reasons.  Pure."""
