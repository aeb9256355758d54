"""Readers of what people attach to reports, and the scenario that replays it.  Layer: scenarios.

CPU templates in JSON with modifiers of CPUID and MSRs, text of ``cpuid -r``, raw XSAVE images and
``struct kvm_sregs``.  A mistake is refused with its place, what was expected and what is there.
"""
