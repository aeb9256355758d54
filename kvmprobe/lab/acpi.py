"""The ACPI tables of the emulated machine: processors, IOAPIC, power management timer, PCI bus.

Pure.  The tables describe the emulator's chipset: power management registers at 0xb000, which
``guest/firmware.S`` maps, and ISA interrupts on the IOAPIC with the timer on pin 2.
Source: ACPI Specification 6.4, sections 5.2 "ACPI System Description Tables", 6.4 "Resource Data
Types for ACPI", 20.2 "AML Grammar Definition".
"""

from __future__ import annotations

import struct

_OEM_ID = b"KVMPRB"
_OEM_TABLE_ID = b"KVMPROBE"
_HEADER = struct.Struct("<4sIBB6s8sI4sI")
_PM_BASE = 0xB000
_IOAPIC_ADDRESS = 0xFEC00000
_LOCAL_APIC_ADDRESS = 0xFEE00000
_SCI_IRQ = 9

_FADT_SIZE = 116
_FADT_REVISION = 1
# FADT flags: WBINVD works, C1 halts, no control-method power and sleep buttons, 32-bit timer.
_FADT_FLAGS = (1 << 0) | (1 << 2) | (1 << 4) | (1 << 5)


# The window for PCI BARs: above the largest possible memory, below the IOAPIC.
_PCI_MEMORY = (0x80000000, 0xFEBFFFFF)
_PCI_CONFIGURATION = 0xCF8  # eight I/O ports
_MEMORY, _IO, _BUS_NUMBERS = 0, 1, 2


def tables(address: int, processors: int, disks: int = 0) -> bytes:
    """Return RSDP, XSDT, FADT, MADT and DSDT, to be loaded at ``address`` (bytes, 16-aligned).

    The RSDP comes first, at ``address`` itself.

    :param disks: number of disks; with none the DSDT is empty and the kernel skips the PCI bus,
        which saves boot time
    """
    dsdt = _table(b"DSDT", 2, _pci_host_bridge() if disks else b"")
    madt = _table(b"APIC", 3, _madt_body(processors))
    dsdt_address = address + 64
    madt_address = _align(dsdt_address + len(dsdt))
    fadt_address = _align(madt_address + len(madt))
    fadt = _table(b"FACP", _FADT_REVISION, _fadt_body(dsdt_address))
    xsdt_address = _align(fadt_address + len(fadt))
    xsdt = _table(b"XSDT", 1, struct.pack("<QQ", fadt_address, madt_address))
    parts = {
        address: _rsdp(xsdt_address),
        dsdt_address: dsdt,
        madt_address: madt,
        fadt_address: fadt,
        xsdt_address: xsdt,
    }
    image = bytearray(xsdt_address + len(xsdt) - address)
    for place, part in parts.items():
        image[place - address : place - address + len(part)] = part
    return bytes(image)


def _align(address: int) -> int:
    return (address + 15) & ~15


def _checksum(data: bytes) -> int:
    return -sum(data) & 0xFF


def _rsdp(xsdt_address: int) -> bytes:
    first = struct.pack("<8sB6sBI", b"RSD PTR ", 0, _OEM_ID, 2, 0)
    first = first[:8] + bytes([_checksum(first)]) + first[9:]
    whole = first + struct.pack("<IQB3x", 36, xsdt_address, 0)
    return whole[:32] + bytes([_checksum(whole)]) + whole[33:]


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    size = _HEADER.size + len(body)
    header = _HEADER.pack(signature, size, revision, 0, _OEM_ID, _OEM_TABLE_ID, 1, b"KVMP", 1)
    checksum = _checksum(header + body)
    return header[:9] + bytes([checksum]) + header[10:] + body


def _madt_body(processors: int) -> bytes:
    body = struct.pack("<II", _LOCAL_APIC_ADDRESS, 1)  # 1: a pair of 8259 exists as well
    for number in range(processors):
        body += struct.pack("<BBBBI", 0, 8, number, number, 1)
    # The emulator's IOAPIC has the APIC id after the last processor's.
    body += struct.pack("<BBBBII", 1, 12, processors, 0, _IOAPIC_ADDRESS, 0)
    body += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)  # ISA interrupt 0 on pin 2
    body += struct.pack("<BBBBIH", 2, 10, 0, _SCI_IRQ, _SCI_IRQ, 0xD)  # active high, level
    body += struct.pack("<BBBHB", 4, 6, 0xFF, 0, 1)  # NMI on LINT1 of every processor
    return body


def _fadt_body(dsdt_address: int) -> bytes:
    body = bytearray(_FADT_SIZE - _HEADER.size)

    def put(offset: int, layout: str, value: int) -> None:
        struct.pack_into(layout, body, offset - _HEADER.size, value)

    put(40, "<I", dsdt_address)
    put(46, "<H", _SCI_IRQ)
    put(56, "<I", _PM_BASE)  # PM1a event block; SMI_CMD stays 0: the machine is always in ACPI mode
    put(64, "<I", _PM_BASE + 4)  # PM1a control block
    put(76, "<I", _PM_BASE + 8)  # power management timer
    put(88, "<B", 4)  # lengths of the three
    put(89, "<B", 2)
    put(91, "<B", 4)
    put(96, "<H", 0xFFF)  # C2 and C3 latencies: not supported
    put(98, "<H", 0xFFF)
    put(112, "<I", _FADT_FLAGS)
    return bytes(body)


# Scope (\\_SB) { Device (PCI0) { Name (_HID, EisaId ("PNP0A03")) Name (_ADR, 0)
# Name (_CRS, ResourceTemplate () {...}) } }
def _pci_host_bridge() -> bytes:
    resources = (
        _range(_BUS_NUMBERS, "<H", 0, 0)
        + struct.pack("<BBHHBB", 0x47, 1, _PCI_CONFIGURATION, _PCI_CONFIGURATION, 1, 8)
        + _range(_IO, "<H", 0, _PCI_CONFIGURATION - 1)
        + _range(_IO, "<H", _PCI_CONFIGURATION + 8, 0xFFFF)
        + _range(_MEMORY, "<I", *_PCI_MEMORY)
        + b"\x79\x00"
    )
    device = b"PCI0\x08_HID\x0c\x41\xd0\x0a\x03\x08_ADR\x00\x08_CRS\x11" + _package(
        bytes([0x0A, len(resources)]) + resources
    )
    return b"\x10" + _package(b"\\_SB_" + b"\x5b\x82" + _package(device))


# A Word or DWord Address Space Descriptor: a fixed range that the bridge forwards.
def _range(kind: int, layout: str, first: int, last: int) -> bytes:
    type_specific_flags = {_MEMORY: 1, _IO: 3, _BUS_NUMBERS: 0}[kind]
    numbers = b"".join(struct.pack(layout, n) for n in (0, first, last, 0, last - first + 1))
    tag = {"<H": 0x88, "<I": 0x87}[layout]
    return struct.pack("<BHBBB", tag, 3 + len(numbers), kind, 0x0C, type_specific_flags) + numbers


# PkgLength includes itself: one byte up to 63, two bytes up to 4095.
def _package(content: bytes) -> bytes:
    if len(content) < 0x3F:
        return bytes([len(content) + 1]) + content
    size = len(content) + 2
    return bytes([0x40 | size & 0xF, size >> 4]) + content
