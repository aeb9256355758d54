"""What the model says of a recorded call, and whether the recorded result agrees."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.model.outcome import Done, Failed, HostDies, NotCovered, OneOf

if TYPE_CHECKING:
    from kvmprobe.model.outcome import Step
    from kvmprobe.recordings.entries import Entry

# Not of KVM: descriptors, memory and signals of the program, the stacks for its signals.
_OF_THE_PROGRAM = frozenset(
    {errno.EFAULT, errno.EBADF, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EIO}
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What the model says of an entry.

    :ivar step: its transition; None if the model has none
    :ivar why: why the result is not judged; empty if it is
    :ivar counted: of KVM_SET_MSRS and KVM_GET_MSRS, how many MSRs that the model knows the recorded
        kernel took
    """

    step: Step | None
    why: str = ""
    counted: int | None = None

    def recorded(self, entry: Entry) -> int | None:
        """Return the recorded result as the model counts it; None if the call did not return."""
        result: int | None = getattr(entry.line, "result", None)
        return result if result is None or result < 0 or self.counted is None else self.counted

    @property
    def is_judged(self) -> bool:
        """True if the model says which results are legal."""
        if self.step is None or self.why:
            return False
        return not isinstance(self.step.outcome, NotCovered | HostDies)

    def why_not(self, result: int | None) -> str:
        """Return why a recorded result cannot be judged; empty if it can."""
        if result is None:
            return "it did not return"
        if -result in _OF_THE_PROGRAM:
            return "the errno is about the program's memory, descriptors or signals"
        return "" if self.is_judged else self.why or "the model has no rule for this result"

    @property
    def expected(self) -> tuple[int, ...]:
        """The legal results; empty for a new descriptor, which can be any."""
        match self.step and self.step.outcome:
            case Done(value):
                return (value,)
            case Failed(number):
                return (-number,)
            case OneOf(choices):
                return tuple(choice.value for choice in choices)
            case _:
                return ()

    def allows(self, result: int) -> bool:
        """Return True if a result is legal."""
        return result in self.expected if self.expected else result >= 0
