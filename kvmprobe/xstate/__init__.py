"""What the bytes of an XSAVE image and of CPUID leaf 0xD mean.

Layer: xstate, pure; knows no kernel.
"""
