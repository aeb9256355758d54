"""A function of seven blocks, for tests of coverage.

0: test edi, edi; je 3    1: cmp esi, 0xaea3; je 5    2: ret
3: call vmwrite_error     4: jmp 2
5: call other             6: jmp 2
"""

from kvmprobe.coverage.functions import KernelFunction, KernelFunctions

START = 0xFFFFFFFFC0000000
CODE = bytes.fromhex("85ff 740a 81fea3ae0000 7409 c3 90 e800010000 ebf7 e8f9010000 ebf0")
FUNCTIONS = KernelFunctions(
    (KernelFunction("kvm", "__kvm_set_xcr", START, CODE),),
    {START + 0x113: "vmwrite_error", START + 0x213: "other"},
)


def bits(*numbers: int) -> bytes:
    """Return the set of these blocks as the emulator reports it."""
    return sum(1 << number for number in numbers).to_bytes(3, "little")
