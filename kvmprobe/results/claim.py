"""The claims of checkers, by name; reports have the sentences."""

from __future__ import annotations

from enum import Enum
from typing import Self


class Claim(Enum):
    """One kind of inconsistency.

    :ivar numbers: names of its values that are numbers
    :ivar texts: names of its values that are texts: an ioctl, a register, bytes in hexadecimal
    """

    numbers: frozenset[str]
    texts: frozenset[str]

    def __new__(cls, value: str, numbers: str = "", texts: str = "") -> Self:
        """Create a claim from names that are separated by blanks."""
        claim = object.__new__(cls)
        claim._value_ = value
        claim.numbers, claim.texts = frozenset(numbers.split()), frozenset(texts.split())
        return claim

    RESERVED_NOT_ZERO = ("reserved-not-zero", "first last")
    SOFTWARE_WORD = ("software-word", "value")
    BEYOND_GUEST_CPUID = ("beyond-guest-cpuid", "bits")
    EXTENT = ("extent", "written size", "call")
    OLD_GET_XSAVE = ("old-get-xsave", "result expected")
    FRESH_IMAGE = ("fresh-image",)
    FRESH_XCR0 = ("fresh-xcr0", "value")
    ILLEGAL_HEADER = ("illegal-header",)
    UNSUPPORTED_COMPONENTS = ("unsupported-components", "bits")
    ADVERTISED_XCR0_REFUSED = ("advertised-xcr0-refused", "bits")
    ADVERTISED_XSTATE_REFUSED = ("advertised-xstate-refused", "bits")
    ADVERTISED_MSR_REFUSED = ("advertised-msr-refused", "value", "register")
    LISTED_MSR_UNREADABLE = ("listed-msr-unreadable", "index")
    GUEST_READS_OTHER = ("guest-reads-other", "guest host", "register")
    REQUEST_RESULT = ("request-result", "result expected")
    REQUEST_RESULT_EITHER = ("request-result-either", "result expected alternative")
    KERNEL_BITS_SHOWN = ("kernel-bits-shown", "code bits")
    PERMISSION_BITS = ("permission-bits", "code value default")
    GRANTED_NOT_SHOWN = ("granted-not-shown",)
    XSAVE2_SHRANK = ("xsave2-shrank", "before now")
    PERMISSION_LOST = ("permission-lost", "bits")
    XSAVE2_SIZE = ("xsave2-size", "size cpuid")
    CPUID_BEYOND_KVM = ("cpuid-beyond-kvm", "bits")
    XTILE_ALONE = ("xtile-alone", "bits")
    XTILE_MISSING = ("xtile-missing",)
    UNPERMITTED_ACCEPTED = ("unpermitted-accepted",)
    OTHER_MEMORY = ("other-memory", "result")
    CHANGED_BY_OTHERS = ("changed-by-others", "", "call")
    CHANGED_BY_REFUSED = ("changed-by-refused", "", "call")
    UNSTEADY = ("unsteady", "", "call")
    FPU_AND_XSAVE = ("fpu-and-xsave",)
    FPU_FIELD = ("fpu-field", "", "field fpu xsave")
    XSAVE_AND_XSAVE2 = ("xsave-and-xsave2",)
    SET_AND_GET = ("set-and-get", "accepted read", "register")
    CPUID_ENTRIES = ("cpuid-entries",)
    CPUID_ENTRY_MISSING = ("cpuid-entry-missing", "leaf subleaf eax ebx ecx edx")
    STANDARD_SIZE = ("standard-size", "value xcr0 size")
    COMPACTED_SIZE = ("compacted-size", "value enabled size")
    OSXSAVE = ("osxsave", "cr4")
    OSPKE = ("ospke", "cr4")
    RESTORED_AND_SAVED = ("restored-and-saved",)
    XSTATE_GAINED = ("xstate-gained", "bits")
    XSTATE_LOST = ("xstate-lost", "bits")
    CONTENT_CHANGED = ("content-changed", "bits")
    CONTENT_NOT_INIT = ("content-not-init", "bits")
    MXCSR = ("mxcsr", "value expected")
    XSTATE_AND_XFD = ("xstate-and-xfd", "bits")
    ORDER_MATTERS = ("order-matters",)
    NOT_KEPT = ("not-kept", "", "call set")
    MEMBER = ("member", "expected read", "member")
    REGISTER_NOT_KEPT = ("register-not-kept", "register accepted read")
    SREGS_AND_SREGS2 = ("sregs-and-sregs2",)
    TWO_VALUES = ("two-values", "register first second")
    RESERVED_ACCEPTED = ("reserved-accepted", "value", "call member")
    LEGAL_REFUSED = ("legal-refused", "", "call")
    ENTRY_FAILURE = ("entry-failure", "value")
    STILL_NOT_ENTERED = ("still-not-entered",)
    READS_MATTER = ("reads-matter",)
    REPEATS_MATTER = ("repeats-matter",)
    PLACE_MATTERS = ("place-matters",)
    HOST_REGISTERS_MATTER = ("host-registers-matter",)
    HOST_REGISTERS_CHANGED = ("host-registers-changed", "offset", "region expected observed")
    COMPETITION_MATTERS = ("competition-matters",)
    CPU_MATTERS = ("cpu-matters",)
    COMPETING_REGISTERS_CHANGED = (
        "competing-registers-changed",
        "offset",
        "region expected observed",
    )
    IMAGE_SIZES = ("image-sizes", "first second")
