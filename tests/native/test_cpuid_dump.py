"""Every leaf of the dump, read again by our own instruction."""

from kvmprobe.bindings import cpuid_dump, headers, host_cpu

# What may differ from one reading to the next, and from CPU to CPU: APIC ids (SDM vol.2 CPUID,
# leaves 1, 0xB, 0x1F) and the size of what XCR0 and XSS enable (0xD), which the kernel switches.
CHANGING = {0x1, 0xB, 0x1F, 0xD}


def test_each_leaf_is_what_our_own_instruction_reads():
    with host_cpu.pinned():
        dump = [leaf for leaf in cpuid_dump.dump() if leaf.leaf not in CHANGING]
        assert {leaf.leaf for leaf in dump} >= {0x0, 0x7, 0x8000_0000}
        assert [
            leaf
            for leaf in dump
            if tuple(leaf[2:]) != tuple(host_cpu.own_leaf(leaf.leaf, leaf.subleaf))
        ] == []


def test_no_leaf_is_listed_twice():
    keys = [(leaf.leaf, leaf.subleaf) for leaf in cpuid_dump.dump()]
    assert len(keys) == len(set(keys))


def test_the_dump_reaches_the_last_leaf_of_the_basic_and_extended_ranges():
    leaves = {leaf.leaf for leaf in cpuid_dump.dump()}
    assert {host_cpu.own_leaf(0, 0).eax, host_cpu.own_leaf(0x8000_0000, 0).eax} <= leaves


def test_each_state_component_has_its_subleaf():
    # SDM vol.1 §13.2: 0xD.0 EDX:EAX and 0xD.1 EDX:ECX name the components.
    first, second = host_cpu.own_leaf(0xD, 0), host_cpu.own_leaf(0xD, 1)
    components = first.eax | first.edx << 32 | second.ecx | second.edx << 32
    listed = {leaf.subleaf for leaf in cpuid_dump.dump() if leaf.leaf == 0xD}
    assert listed == {0, 1, *(nr for nr in range(2, 63) if components >> nr & 1)}


def test_the_headers_version_has_three_numbers():
    assert len([int(number) for number in headers.version().split(".")]) == 3
