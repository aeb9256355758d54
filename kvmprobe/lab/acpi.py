"""The few ACPI tables that a Linux kernel needs to find the processors, the IOAPIC and the timers.

Pure: bytes from numbers.  Knows the emulator's chipset (power management registers at 0xb000, which
``guest/firmware.S`` maps; ISA interrupts on the IOAPIC, timer on pin 2) and nothing of kernels.
Source: ACPI Specification 6.4, section 5.2 "ACPI System Description Tables".
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


def tables(address: int, processors: int) -> bytes:
    """Return RSDP, XSDT, FADT, MADT and an empty DSDT, to be placed at ``address``.

    The RSDP comes first: its address is ``address`` (bytes, 16-aligned).
    """
    dsdt = _table(b"DSDT", 2, b"")
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
    # The emulator gives its IOAPIC the number that follows the last processor's.
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
