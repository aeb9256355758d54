"""Restore a KVM guest's XCR0, XFD and XSTATE in every order, and compare the kernel with a model.

The public library is the names in ``__all__`` of :mod:`kvmprobe.bindings` (/dev/kvm),
:mod:`kvmprobe.xstate` (XSAVE images, CPUID tables) and :mod:`kvmprobe.model` (what a correct kernel
does), and the errors in :mod:`kvmprobe.errors`.  Everything else may change.
"""

__version__ = "0.1.0"
