"""kvmprobe: restore a KVM guest's XCR0, XFD and XSTATE in every order and judge the kernel by a model."""

__version__ = "0.1.0"
