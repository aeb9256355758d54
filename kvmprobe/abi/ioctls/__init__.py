"""The ioctls that kvmprobe issues: number, descriptor, argument, errnos; one file a topic.  Pure.

Each fact about an ioctl is declared here and nowhere else: bindings, ops, reports and reproducers
read it from here, and the build compares all of it with the kernel's headers
(``abi/c_checks.py``).  ``README.md`` in this directory says how to add one.
"""

from kvmprobe.abi.ioctls.as_recorded import AS_RECORDED as AS_RECORDED
from kvmprobe.abi.ioctls.spec import *
from kvmprobe.abi.ioctls.system import *
from kvmprobe.abi.ioctls.vcpu import *
from kvmprobe.abi.ioctls.vcpu_tables import *
from kvmprobe.abi.ioctls.vm import *

ALL: tuple[IoctlSpec, ...] = tuple(v for v in list(globals().values()) if isinstance(v, IoctlSpec))
BY_NUMBER = {spec.number: spec for spec in ALL}
"""The ioctls by request number, which no two have in common."""
IN_RECORDINGS = BY_NUMBER | {spec.number: spec for spec in AS_RECORDED}
"""The same, with those that are only issued as they were recorded."""
