"""Offsets and checksums as in the ACPI Specification 6.4, section 5.2."""

import struct

from kvmprobe.lab import acpi

ADDRESS = 0x92000


def table(image, address):
    start = address - ADDRESS
    size = struct.unpack_from("<I", image, start + 4)[0]
    return image[start : start + size]


def test_every_table_sums_to_zero_and_is_found_from_the_first():
    image = acpi.tables(ADDRESS, processors=1)
    assert image.startswith(b"RSD PTR ")
    assert sum(image[:20]) % 256 == 0
    assert sum(image[:36]) % 256 == 0
    xsdt = table(image, struct.unpack_from("<Q", image, 24)[0])
    found = {b"XSDT": xsdt}
    for (address,) in struct.iter_unpack("<Q", xsdt[36:]):
        entry = table(image, address)
        found[entry[:4]] = entry
    dsdt = table(image, struct.unpack_from("<I", found[b"FACP"], 40)[0])
    assert dsdt[:4] == b"DSDT"
    assert set(found) == {b"XSDT", b"FACP", b"APIC"}
    assert all(sum(entry) % 256 == 0 for entry in [*found.values(), dsdt])


def test_the_interrupt_table_lists_processors_and_then_the_ioapic():
    image = acpi.tables(ADDRESS, processors=2)
    body = image[image.index(b"APIC") + 44 :]
    assert body[:8] == struct.pack("<BBBBI", 0, 8, 0, 0, 1)
    assert body[8:16] == struct.pack("<BBBBI", 0, 8, 1, 1, 1)
    assert body[16:28] == struct.pack("<BBBBII", 1, 12, 2, 0, 0xFEC00000, 0)
