"""Reads the JSON document of ``kvmprobe probe``: the profile of the host that it is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from kvmprobe.abi.numbers import KVM_MAX_CPUID_ENTRIES, U32_MAX
from kvmprobe.errors import LayoutError, ScenarioError, Unavailable, UsageError
from kvmprobe.execution.packed import pack
from kvmprobe.execution.preflight import profile_of
from kvmprobe.execution.probed_facts import check_facts
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.results.codec import from_json, read_list, wrong
from kvmprobe.results.record import Target
from kvmprobe.results.schema import refusal
from kvmprobe.scenarios.strict_json import MOST_BYTES, content_of, parse, plain
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvmprobe.model.behaviours import Behaviours
    from kvmprobe.model.host import HostProfile

T = TypeVar("T")
SCHEMA = "kvmprobe-probe/1"
_MOST_MSRS = 4096


@dataclass(frozen=True, slots=True)
class ProbedHost:
    """A host as its document describes it.

    :ivar undetermined: behaviours that its probes did not decide; the profile is without them
    """

    target: Target
    brand: str
    profile: HostProfile
    undetermined: Behaviours

    @property
    def name(self) -> str:
        """Kernel and processor, in words."""
        place = "emulated host, " if self.target.emulated else ""
        return f"{place}{self.target.release}, {self.brand}"


def read_probe(path: Path) -> ProbedHost:
    """Return the host that a document of ``kvmprobe probe --json`` is about.

    :raises UsageError: it cannot be read, is no such document, is about a host whose KVM cannot be
        tested, or has facts that contradict each other; the message has path and key
    """
    try:
        return _probed(content_of(path))
    except (ScenarioError, LayoutError, Unavailable) as error:
        raise UsageError(f"{path}: {error}") from error


def _probed(content: bytes) -> ProbedHost:
    if len(content) > MOST_BYTES:
        raise ScenarioError(f"more than {MOST_BYTES} bytes; not of `kvmprobe probe --json`")
    document = plain(parse(content), "$")
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise wrong("schema", f"not of `kvmprobe probe --json`: {refusal(schema, SCHEMA)}")
    if "untestable" in document:
        why = _at(document, "untestable.reason", str)
        raise wrong("untestable", f"KVM of this host is not known: {why}")
    target = _at(document, "target", Target)
    facts = _facts(document)
    found = frozenset(_behaviour(n, "behaviours") for n in _members(document, "behaviours"))
    open_ones = _at(document, "undetermined", tuple[str, ...])
    undetermined = frozenset(_behaviour(name, "undetermined") for name in open_ones)
    check_facts(facts)
    profile = replace(profile_of(facts), behaviours=found)
    return ProbedHost(target, _at(document, "facts.cpu.brand", str), profile, undetermined)


def _facts(document: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return what the profile is made of, each of its type."""
    key = "facts.cpu.leaves"
    return {
        "kernel": {"release": _at(document, "facts.kernel.release", str)},
        "cpu": {
            **{
                name: _at(document, f"facts.cpu.{name}", int)
                for name in ("xcr0", "xcr0_supported", "xss_supported", "mxcsr_mask")
            },
            "components": {
                number: {
                    name: _at(document, f"facts.cpu.components.{number}.{name}", int)
                    for name in ("offset", "size", "supervisor")
                }
                for number in _members(document, "facts.cpu.components")
            },
            "leaves": [
                _entry(leaf, f"{key}[{place}]")
                for place, leaf in enumerate(read_list(_find(document, key), key))
            ],
        },
        "xcomp": {"GET_XCOMP_SUPP": _at(document, "facts.xcomp.GET_XCOMP_SUPP", int)},
        "kvm": _kvm(document),
    }


def _kvm(document: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    key = "facts.kvm.supported_cpuid_permitted"
    entries = [
        _entry(e, f"{key}[{at}]") for at, e in enumerate(read_list(_find(document, key), key))
    ]
    if len(entries) > KVM_MAX_CPUID_ENTRIES:
        raise wrong(key, f"expected at most {KVM_MAX_CPUID_ENTRIES} entries, not {len(entries)}")
    msrs = _at(document, "facts.kvm.msrs", tuple[int, ...])
    if len(msrs) > _MOST_MSRS or not all(0 <= index <= U32_MAX for index in msrs):
        raise wrong("facts.kvm.msrs", f"expected at most {_MOST_MSRS} numbers of 32 bits")
    return {
        "cap_xsave2": _at(document, "facts.kvm.cap_xsave2", int),
        "cap_xsave2_permitted": _at(document, "facts.kvm.cap_xsave2_permitted", int),
        "xcomp_guest_supp": _at(document, "facts.kvm.xcomp_guest_supp", int),
        "supported_cpuid_permitted": pack(CpuidTable(tuple(entries)).to_bytes()),
        "msrs": msrs,
    }


def _entry(data: object, path: str) -> CpuidEntry:
    if isinstance(data, list):
        data = dict(zip(CpuidEntry._fields, data, strict=False))
    if not isinstance(data, dict) or set(data) != set(CpuidEntry._fields):
        raise wrong(path, f"expected {', '.join(CpuidEntry._fields)}")
    for name, value in data.items():
        if type(value) is not int or not 0 <= value <= U32_MAX:
            raise wrong(f"{path}.{name}", "expected a number of 32 bits")
    return CpuidEntry(**data)


def _behaviour(name: str, key: str) -> Behaviour:
    if name not in Behaviour.__members__:
        raise wrong(key, f"unknown behaviour {name!r:.60}; probe this host with this kvmprobe")
    return Behaviour[name]


def _at(document: Any, path: str, of: Callable[..., T]) -> T:  # noqa: ANN401 - JSON
    """Return the value at a path of names, of this type."""
    return from_json(of, _find(document, path), path)


def _members(document: Any, path: str) -> dict[str, Any]:  # noqa: ANN401 - JSON
    found = _find(document, path)
    if not isinstance(found, dict):
        raise wrong(path, "expected an object")
    return found


def _find(document: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    value = document
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise wrong(path, "is missing")
        value = value[name]
    return value
