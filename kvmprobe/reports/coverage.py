"""Coverage of a kernel as text: by function, and the blocks that nobody reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvmprobe.coverage.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kvmprobe.coverage.measured import Measured
    from kvmprobe.coverage.summary import FunctionCoverage
    from kvmprobe.results.record import Target


def coverage_lines(target: Target, measured: Measured) -> Iterator[str]:
    """Yield one line for each function, and the sums."""
    summary = Summary.of(measured, target.kernel)
    yield _headline(target, summary)
    width = max((len(_name(each)) for each in summary.functions), default=0)
    yield f"  {'function':{width}}  blocks  reached  with a reason  open  first reached by"
    for each in summary.functions:
        numbers = (
            f"{len(each.blocks):6}  {len(each.reached):7}  {len(each.explained):13}"
            f"  {len(each.open):4}"
        )
        yield f"  {_name(each):{width}}  {numbers}  {each.first_by}".rstrip()
    for number in summary.contradicted:
        place = measured.disassembly.place(measured.blocks[number])
        yield f"  {place}: has a reason not to be reached, but {measured.first_by[number]} did"


def block_lines(
    target: Target,
    measured: Measured,
    wanted: Callable[[str], bool],
    lines: Mapping[int, str],
    *,
    unreached: bool,
) -> Iterator[str]:
    """Yield the blocks of some functions with their instructions.

    :param wanted: returns True for a function's name
    :param lines: the source lines that are known, by the block's address
    :param unreached: leave out what was reached
    """
    summary = Summary.of(measured, target.kernel)
    yield _headline(target, summary)
    for function in summary.functions:
        if wanted(function.name):
            reached = set(function.reached)
            for number in function.blocks:
                if not unreached or number not in reached:
                    yield from _block(measured, summary, number, lines)


def diff_lines(
    target: Target, before: Measured, after: Measured, before_name: str, after_name: str
) -> Iterator[str]:
    """Yield, by function, the blocks that only one of two runs reached."""
    both = (before.reached & after.reached).bit_count()
    yield (
        f"{target.description}: {len(before.blocks)} blocks: "
        f"{before.reached.bit_count()} reached by {before_name}, "
        f"{after.reached.bit_count()} by {after_name}: {both} reached by both, "
        f"{(before.reached & ~after.reached).bit_count()} only by {before_name}, "
        f"{(after.reached & ~before.reached).bit_count()} only by {after_name}"
    )
    for (module, name), numbers in sorted(before.by_function.items()):
        lost = [n for n in numbers if (before.reached & ~after.reached) >> n & 1]
        gained = [n for n in numbers if (after.reached & ~before.reached) >> n & 1]
        for sign, run, which in (("-", before, lost), ("+", after, gained)):
            for number in which:
                place = run.disassembly.place(run.blocks[number])
                yield f"  {sign} {module}: {place} ({name}), first by {run.first_by[number]}"


def _headline(target: Target, summary: Summary) -> str:
    part = 100 * summary.reached / max(summary.blocks, 1)
    return (
        f"{target.description}: {len(summary.functions)} functions, "
        f"{summary.blocks} basic blocks: {summary.reached} reached ({part:.1f} %), "
        f"{summary.explained} not reached for a known reason, "
        f"{summary.blocks - summary.reached - summary.explained} open: "
        f"{100 * summary.share:.1f} % reached or with a reason"
    )


def _name(function: FunctionCoverage) -> str:
    return f"{function.module}: {function.name}"


def _block(
    measured: Measured, summary: Summary, number: int, lines: Mapping[int, str]
) -> Iterator[str]:
    block, text = measured.blocks[number], measured.disassembly
    if number in measured.first_by:
        state = f"first reached by {measured.first_by[number]}"
    elif number in summary.reason:
        state = f"not reached: {summary.reason[number].text}"
    else:
        call = text.nearest_call(number)
        state = f"open; nearest call: {call}" if call else "open"
    line = lines.get(block.start)
    yield f"{text.place(block)}{f' ({line})' if line else ''}: {state}"
    yield from (f"    {line}" for line in text.lines(block))
