"""Checks that the facts about a host do not contradict each other, the processor or KVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import U32_MAX
from kvmprobe.errors import LayoutError
from kvmprobe.execution.packed import unpack
from kvmprobe.model.xcr import legal_xcr0
from kvmprobe.results.codec import wrong
from kvmprobe.xstate.cpuid import LEAF_XSTATE, CpuidTable
from kvmprobe.xstate.features import FPSSE, names, numbers
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE, Component, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

_CPU, _KVM = "facts.cpu", "facts.kvm"
_TABLE = f"{_KVM}.supported_cpuid_permitted"
_USER = "facts.xcomp.GET_XCOMP_SUPP"


def check_facts(facts: Mapping[str, Any]) -> None:
    """Check facts, each of which has its type.

    :raises ScenarioError: two contradict each other; the message begins with the key of one
    """
    cpu, kvm, user = facts["cpu"], facts["kvm"], facts["xcomp"]["GET_XCOMP_SUPP"]
    table = CpuidTable.from_bytes(unpack(kvm["supported_cpuid_permitted"]))
    offered = kvm["xcomp_guest_supp"]
    _check_number(f"{_CPU}.mxcsr_mask", cpu["mxcsr_mask"], U32_MAX)
    _check_xcr0(f"{_CPU}.xcr0", cpu["xcr0"])
    _check_xcr0(_USER, user | FPSSE)
    _check_xcr0(f"{_KVM}.xcomp_guest_supp", offered | FPSSE)
    for key, value, limit_key, limit in (
        (f"{_CPU}.xcr0", cpu["xcr0"], f"{_CPU}.xcr0_supported", cpu["xcr0_supported"]),
        (_USER, user, f"{_CPU}.xcr0_supported", cpu["xcr0_supported"]),
        (f"{_KVM}.xcomp_guest_supp", offered, _USER, user | FPSSE),
        (f"{_TABLE}: 0xD.0:EDX:EAX", table.xcr0, f"{_KVM}.xcomp_guest_supp", offered | FPSSE),
        (f"{_TABLE}: 0xD.1:EDX:ECX", table.xss, f"{_CPU}.xss_supported", cpu["xss_supported"]),
    ):
        _check_within(key, value, limit_key, limit)
    if both := cpu["xss_supported"] & cpu["xcr0_supported"]:
        raise wrong(f"{_CPU}.xss_supported", f"{names(both)} also in {_CPU}.xcr0_supported")
    layout = _layout(cpu, user)
    _check_places(layout, table)
    _check_size(kvm, layout, offered)


def _check_number(key: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise wrong(key, f"expected 0 to {largest:#x}, not {value:#x}")


def _check_xcr0(key: str, value: int) -> None:
    """Refuse what no processor takes in XCR0 (SDM vol.1 §13.3)."""
    if value < 0 or not legal_xcr0(value, value):
        raise wrong(key, f"{names(max(value, 0))} is no legal XCR0")


def _check_within(key: str, value: int, limit_key: str, limit: int) -> None:
    if beyond := value & ~limit:
        raise wrong(key, f"has {names(beyond)}, which {limit_key} lacks")


def _layout(cpu: Mapping[str, Any], user: int) -> Layout:
    key = f"{_CPU}.components"
    components = cpu["components"]
    for number in components:
        if not number.isdecimal() or not 2 <= int(number) < 63:
            raise wrong(f"{key}.{number:.20}", "expected a component from 2 to 62")
    if missing := [nr for nr in numbers(user & ~FPSSE) if str(nr) not in components]:
        raise wrong(key, f"lacks component {missing[0]}, which {_USER} has")
    for nr in numbers(user & ~FPSSE):
        if components[str(nr)]["supervisor"]:
            raise wrong(f"{key}.{nr}.supervisor", f"supervisor state, but {_USER} has it")
    try:
        return Layout.of(
            Component(nr, components[str(nr)]["offset"], components[str(nr)]["size"])
            for nr in numbers(user & ~FPSSE)
        )
    except LayoutError as error:
        raise wrong(key, str(error)) from None


def _check_places(layout: Layout, table: CpuidTable) -> None:
    for component in layout.components:
        entry = table.find(LEAF_XSTATE, component.nr) if table.xcr0 >> component.nr & 1 else None
        if entry and (entry.ebx, entry.eax) != (component.offset, component.size):
            raise wrong(
                f"{_CPU}.components.{component.nr}",
                f"offset {component.offset} and size {component.size}, where {_TABLE} has "
                f"{entry.ebx} and {entry.eax} in 0xD.{component.nr}",
            )


def _check_size(kvm: Mapping[str, Any], layout: Layout, offered: int) -> None:
    """Check KVM_CAP_XSAVE2 after the request for permission."""
    size = max(KVM_XSAVE_SIZE, layout.size(offered | FPSSE))
    if kvm["cap_xsave2"] and kvm["cap_xsave2_permitted"] != size:
        raise wrong(
            f"{_KVM}.cap_xsave2_permitted",
            f"{kvm['cap_xsave2_permitted']} bytes, where components {names(offered)} need {size}",
        )
