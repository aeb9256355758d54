"""Offsets and checksums as in the ACPI Specification 6.4, section 5.2; resources as in 6.4.3."""

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


def dsdt_body(disks):
    image = acpi.tables(ADDRESS, processors=1, disks=disks)
    fadt = image[image.index(b"FACP") :]
    return table(image, struct.unpack_from("<I", fadt, 40)[0])[36:]


def package(aml):
    """Return the content of a package whose length has one or two bytes (20.2.4)."""
    more = aml[0] >> 6
    assert more <= 1
    size = aml[0] if more == 0 else aml[0] & 0xF | aml[1] << 4
    assert size == len(aml)
    return aml[1 + more :]


def test_without_a_disk_the_tables_have_no_bus():
    assert dsdt_body(disks=0) == b""


def test_a_disk_hangs_on_a_pci_host_bridge():
    scope = dsdt_body(disks=1)
    assert scope[:1] == b"\x10"  # ScopeOp
    inside = package(scope[1:])
    assert inside[:7] == b"\\_SB_\x5b\x82"  # RootChar NameSeg DeviceOp
    device = package(inside[7:])
    assert device[:4] == b"PCI0"
    # Name (_HID, 0x030AD041): EISAID("PNP0A03") as 19.3.4 compresses it.
    assert b"\x08_HID\x0c" + struct.pack("<I", 0x030AD041) in device


def test_the_bridge_passes_on_all_ports_but_the_configuration_registers():
    device = dsdt_body(disks=1)
    resources = device[device.index(b"_CRS") + 4 :]
    ports = [range(0xCF8, 0xD00)]
    at = resources.index(b"\x88")
    while resources[at] != 0x79:  # EndTag
        if resources[at] == 0x47:  # I/O Port Descriptor
            low, high, _, length = struct.unpack_from("<HHBB", resources, at + 2)
            assert (low, high, length) == (0xCF8, 0xCF8, 8)
            at += 8
            continue
        if resources[at] == 0x88 and resources[at + 3] == 1:  # Word, I/O range
            _, first, last, _, length = struct.unpack_from("<5H", resources, at + 6)
            assert length == last - first + 1
            ports.append(range(first, last + 1))
        at += 3 + struct.unpack_from("<H", resources, at + 1)[0]
    assert sorted(port for part in ports for port in part) == list(range(0x10000))
