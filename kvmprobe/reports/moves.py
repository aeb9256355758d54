"""What becomes of guests that move from one host to another, as text and as JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from kvmprobe import __version__
from kvmprobe.errors import errno_name
from kvmprobe.moves.causes import Cause
from kvmprobe.moves.cells import Fate
from kvmprobe.moves.compatibility import Cpuid
from kvmprobe.moves.guests import Use
from kvmprobe.moves.restoring import Fatal, Lost, Refused
from kvmprobe.reports.vmm_sentences import pieces_text
from kvmprobe.results.codec import to_json
from kvmprobe.results.known import by_id
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kvmprobe.execution.probe_document import ProbedHost
    from kvmprobe.model.control import Cr4
    from kvmprobe.moves.causes import Explained
    from kvmprobe.moves.compatibility import Compatibility, Move
    from kvmprobe.vmm.findings import Piece

SCHEMA = "kvmprobe-compat/1"
# In the order in which they are shown.
CAUSES = (Cause.DEFECT, Cause.TARGET, Cause.ORDER, Cause.ABI)
_WHOSE = {Cpuid.SOURCE: "all that the source supports", Cpuid.SHARED: "what both hosts support"}


class Fact(NamedTuple):
    """What a move's findings say, those of one call and cause together.

    :ivar number: errno of a refusal; 0 for KVM_SET_MSRS that ends at an entry
    """

    fate: Fate
    call: str
    number: int
    pieces: tuple[Piece, ...]
    cause: Cause
    defects: tuple[str, ...]
    cr4: tuple[Cr4, ...] = ()


def facts_of(findings: Iterable[Explained]) -> tuple[Fact, ...]:
    """Return what the findings of one move say."""
    lost: dict[tuple[str, Cause, tuple[str, ...]], list[Piece]] = defaultdict(list)
    found: list[Fact] = []
    for one in findings:
        match one.finding:
            case Refused(call, number, pieces, cr4):
                fact = Fact(Fate.REFUSED, call, number, pieces, one.cause, one.defects, cr4)
                found.append(fact)
            case Fatal(call):
                found.append(Fact(Fate.FATAL, call, 0, (), one.cause, one.defects))
            case Lost(call, piece):
                lost[call, one.cause, one.defects].append(piece)
    for (call, cause, defects), of_call in lost.items():
        pieces = tuple(sorted(of_call, key=lambda piece: (piece.kind.value, piece.number)))
        found.append(Fact(Fate.LOST, call, 0, pieces, cause, defects))
    return tuple(found)


def compatibility_lines(
    result: Compatibility, source: ProbedHost, target: ProbedHost
) -> Iterator[str]:
    """Yield the result for a terminal."""
    yield f"from {source.name}"
    yield f"to   {target.name}"
    for cpuid in Cpuid:
        moves = [move for move in result.moves if move.cpuid is cpuid]
        if moves:
            yield f"guest with {_WHOSE[cpuid]}: {_verdict(moves)}"
            yield f"  {_offered(result, cpuid)}"
            yield from _moves_lines(moves)
            yield from _without_cet(moves)
    yield from _shared_lines(result)
    yield from _defect_lines(result)
    for side, host in (("source", source), ("target", target)):
        if host.undetermined:
            listed = ", ".join(sorted(behaviour.name for behaviour in host.undetermined))
            yield f"not determined by the probes of the {side}, and taken as absent: {listed}"


def _offered(result: Compatibility, cpuid: Cpuid) -> str:
    if cpuid is Cpuid.SOURCE:
        xcr0, xss = result.source.kvm_xcr0, result.source.kvm_xss
    else:
        xcr0, xss = result.shared.xcr0, result.shared.xss
    return f"XCR0 {names(xcr0)}, IA32_XSS {names(xss)}"


def _verdict(moves: list[Move]) -> str:
    orders = {move.order for move in moves}
    failing = {move.order for move in moves if move.findings}
    if not failing:
        return "goes on"
    if failing == orders:
        return "does not go on"
    return f"goes on in {len(orders - failing)} of {len(orders)} orders"


def _moves_lines(moves: list[Move]) -> Iterator[str]:
    by_fact: dict[Fact, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    clean: dict[str, list[str]] = defaultdict(list)
    for move in moves:
        facts = facts_of(move.findings)
        for fact in facts:
            by_fact[fact][move.order].append(move.use)
        if not facts:
            clean[move.order].append(move.use)
    if clean:
        yield "  goes on"
        yield from _orders(clean)
    for fact, orders in sorted(by_fact.items(), key=lambda item: CAUSES.index(item[0].cause)):
        yield f"  {fact.fate:8} {sentence(fact)}"
        yield from _orders(orders)


def _without_cet(moves: list[Move]) -> Iterator[str]:
    """Name the orders of which it is not known whether they restore the state of CET."""
    with_cet = {move.order for move in moves if move.use is Use.CET}
    others = dict.fromkeys(move.order for move in moves if move.order not in with_cet)
    if with_cet and others:
        yield "  not moved with CET, of which their order says nothing"
        yield f"           {', '.join(others)}"


def _orders(uses_by_order: dict[str, list[str]]) -> Iterator[str]:
    by_uses: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for order, of_order in uses_by_order.items():
        by_uses[tuple(of_order)].append(order)
    for of_uses, orders in by_uses.items():
        yield f"           {', '.join(of_uses)}: {', '.join(orders)}"


def sentence(fact: Fact) -> str:
    """Return what happens and why."""
    return f"{happens(fact)}: {_reason(fact)}"


def happens(fact: Fact) -> str:
    """Return what happens."""
    what = ", ".join(f"CR4.{bit.name}" for bit in fact.cr4) or pieces_text(fact.pieces)
    match fact.fate:
        case Fate.REFUSED if fact.number:
            text = f"{fact.call} fails with {errno_name(fact.number)}"
            return text + (f" for {what}" if what else "")
        case Fate.REFUSED:
            return f"{fact.call} does not take {what}"
        case Fate.FATAL:
            return f"{fact.call} takes the target down"
        case _ if fact.call:
            return f"{fact.call} leaves another value in {what}"
        case _:
            return f"no call restores {what}"


def _reason(fact: Fact) -> str:
    match fact.cause:
        case Cause.ORDER:
            return "the order does so on the source as well"
        case Cause.ABI:
            return "undetermined by the ABI, older kernels keep what XFD has armed"
        case Cause.TARGET if fact.fate is Fate.REFUSED:
            return "the target lacks it"
        case Cause.TARGET:
            return "the target's processor or KVM differs"
        case Cause.DEFECT:
            labels = [by_id(defect).label() for defect in fact.defects]
            return f"defects of the kernels: {', '.join(labels) or 'several together'}"


def _shared_lines(result: Compatibility) -> Iterator[str]:
    shared = result.shared
    yield f"largest common XCR0 {names(shared.xcr0)}, IA32_XSS {names(shared.xss)}"
    if shared.moved:
        yield f"  without what has another place or size on the target: {names(shared.moved)}"
    if count := len(shared.changes):
        changed = "1 register" if count == 1 else f"{count} registers"
        yield f"  it changes {changed} of KVM's supported CPUID; --template FILE writes them"


def _defect_lines(result: Compatibility) -> Iterator[str]:
    yield "known defects" if result.defects else "known defects: none"
    where = {(True, True): "both", (True, False): "source", (False, True): "target"}
    for defect, *on in sorted(result.defects, key=lambda entry: entry[1:]):
        yield f"  {where[on[0], on[1]]:8} {defect.label()}: {defect.title}"


def compatibility_json(
    result: Compatibility, source: ProbedHost, target: ProbedHost
) -> dict[str, Any]:
    """Return the result as JSON-ready data."""
    return {
        "schema": SCHEMA,
        "tool": __version__,
        "source": _host(source),
        "target": _host(target),
        "goes_on_in_each_order": result.goes_on_in_each,
        "goes_on_in_some_order": result.goes_on_in_some,
        "moves": [_move(move) for move in result.moves],
        "shared": {
            "xcr0": result.shared.xcr0,
            "xss": result.shared.xss,
            "moved": result.shared.moved,
            "cpuid": [
                {
                    "leaf": leaf,
                    "subleaf": subleaf,
                    "register": register.value,
                    "bits": bits,
                    "value": value,
                }
                for leaf, subleaf, _, register, bits, value in result.shared.changes
            ],
        },
        "defects": [
            {
                "id": d.id,
                "title": d.title,
                "fix": d.releases,
                "source": on_source,
                "target": on_target,
            }
            for d, on_source, on_target in result.defects
        ],
    }


def _host(host: ProbedHost) -> dict[str, Any]:
    undetermined = sorted(behaviour.name for behaviour in host.undetermined)
    return {"name": host.name, "undetermined": undetermined}


def _move(move: Move) -> dict[str, Any]:
    return {
        "order": move.order,
        "cpuid": move.cpuid.value,
        "use": move.use.value,
        "goes_on": not move.findings,
        "findings": [fact_json(fact) for fact in facts_of(move.findings)],
    }


def fact_json(fact: Fact) -> dict[str, Any]:
    """Return a fact as JSON-ready data."""
    return {
        "text": sentence(fact),
        "kind": fact.fate.value,
        "call": fact.call,
        "errno": fact.number,
        "pieces": _pieces(fact.pieces),
        "cr4": [bit.name for bit in fact.cr4],
        "cause": fact.cause.value,
        "defects": list(fact.defects),
    }


def _pieces(pieces: Iterable[Piece]) -> list[Any]:
    return [to_json(type(piece), piece) for piece in pieces]
