"""Restore a KVM guest's XCR0, XFD and XSTATE in every order; judge the kernel by a model.

Public as a library is what ``__all__`` names in :mod:`kvmprobe.bindings` (/dev/kvm),
:mod:`kvmprobe.xstate` (XSAVE images, CPUID tables) and :mod:`kvmprobe.model` (what a correct kernel
does), and the errors in :mod:`kvmprobe.errors`.  All else serves the command, and may change.
"""

__version__ = "0.1.0"
