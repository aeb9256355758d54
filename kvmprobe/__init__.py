"""Restore a KVM guest's XCR0, XFD and XSTATE in every order; judge the kernel by a model."""

__version__ = "0.1.0"
