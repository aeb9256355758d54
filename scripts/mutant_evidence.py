"""Judge a mutant by recorded kernels, and by documents that the model must refuse.

A mutant is judged at the steps of recorded scenarios that call what was changed.  Where a step
differs, the scenarios that go through it are compared with the kernel's replies.
"""

from __future__ import annotations

import ast
import json
import lzma
import sys
from typing import TYPE_CHECKING, Any

from called_functions import Calls
from mutated_model import caches, exchange, forget_package, function_at
from named_values import Names
from reached_steps import Reached, reached
from refused_documents import accepted_documents, refused_documents

from kvmprobe.execution.recording import Rejudged
from kvmprobe.results.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from called_functions import Function
    from mutants import Mutant
    from named_values import Users
    from refused_documents import Accepted, Refused

# Of the entries that share a step, those that are tried before other steps are looked at.
_TRIED = 3
_MATRIX_STRIDE = 10


class Evidence:
    """What is known of kernels and of the model's domain.

    :ivar transcripts: the recorded ones
    """

    def __init__(self, contents: Sequence[bytes]) -> None:
        self._files = [_parsed(content) for content in contents]
        self.transcripts = [Transcript.from_document(*file) for file in self._files]
        calls = Calls()
        self._reached = [reached(transcript, calls) for transcript in self.transcripts]
        domain: Iterable[Accepted | Refused] = (
            *accepted_documents(self.transcripts),
            *refused_documents(),
        )
        self._domain = [(calls.during(one.is_right)[1], one) for one in domain]
        self._names = Names()

    def notices(self, mutant: Mutant, module: str) -> bool:
        """Return True if the mutant is detected; must run in a process of its own."""
        name = f"kvmprobe.model.{module}"
        try:
            if mutant.in_function and not self._names.runs_at_import(name, mutant.place):
                function = function_at(vars(sys.modules[name]), mutant.place)
                exchange(function, mutant.place, mutant.source)
                return self._differs({(name, mutant.place)})
            users = self._names.users(name, mutant.line)
            users.functions.add((name, mutant.place))
            if not users.are_values:
                return self._differs_if_imported_again(name, mutant, users)
            self._compute_again(users, mutant)
            return self._differs(users.functions)
        except Exception:
            return True

    def _compute_again(self, users: Users, mutant: Mutant) -> None:
        changed = ast.parse(mutant.source)
        for number, statement in enumerate(users.again):
            module = sys.modules[statement.module]
            node = self._names.same_in(changed, statement) if number == 0 else statement.node
            exec(compile(ast.Module([node], []), statement.module, "exec"), vars(module))  # noqa: S102
            for name in statement.binds:
                for importer, own in self._names.importers((statement.module, name)):
                    setattr(sys.modules[importer], own, vars(module)[name])
        for clear in caches():
            clear()

    def _differs(self, changed: Collection[Function]) -> bool:
        if any(
            not one.is_right() for called, one in self._domain if not called.isdisjoint(changed)
        ):
            return True
        judges = [_Judge(one) for one in self._reached]
        return any(judge.detects_early(changed) for judge in judges) or any(
            judge.detects(changed) for judge in judges
        )

    def _differs_if_imported_again(self, name: str, mutant: Mutant, users: Users) -> bool:
        chosen = [one.entries_that_call(users.functions) for one in self._reached]
        forget_package(name, mutant.source)
        from kvmprobe.execution.recording import disagreements  # noqa: PLC0415 - again
        from kvmprobe.results.transcript import Transcript  # noqa: PLC0415 - again

        del sys.modules["refused_documents"]
        import refused_documents as domain  # noqa: PLC0415 - again

        if any(not one.is_right() for one in domain.refused_documents()):
            return True
        for (document, blob), numbers in zip(self._files, chosen, strict=True):
            if numbers:
                entries = [document["entries"][number] for number in numbers]
                narrowed = Transcript.from_document({**document, "entries": entries}, blob)
                if any(not one.is_right() for one in domain.accepted_documents([narrowed])):
                    return True
                if next(disagreements(narrowed), None) is not None:
                    return True
        return False


class _Judge:
    """Judges a transcript's entries with the changed model."""

    def __init__(self, known: Reached) -> None:
        self._known = known
        self._rejudged = Rejudged(known.transcript)
        self._judged: set[int] = set()

    def detects_early(self, changed: Collection[Function]) -> bool:
        """Return True if a few scenarios through the first step that differs show it."""
        for step in self._known.steps_that_call(changed):
            if step.differs_now():
                return self._any_differs(step.entries[:_TRIED])
        return False

    def detects(self, changed: Collection[Function]) -> bool:
        """Return True if any scenario shows it."""
        for step in self._known.steps_that_call(changed):
            fresh = [number for number in step.entries if number not in self._judged]
            if fresh and step.differs_now() and self._any_differs(fresh):
                return True
        every = range(len(self._known.transcript.entries))
        return not self._known.judge.isdisjoint(changed) and self._any_differs(every)

    def _any_differs(self, numbers: Sequence[int]) -> bool:
        for number in numbers:
            if number not in self._judged:
                self._judged.add(number)
                if not self._rejudged.is_alike(self._known.transcript.entries[number]):
                    return True
        return False


def _parsed(content: bytes) -> tuple[dict[str, Any], bytes]:
    line, _, blob = lzma.decompress(content).partition(b"\n")
    document = json.loads(line)
    return {**document, "entries": list(_thinned(document["entries"]))}, blob


def _thinned(entries: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the entries, but of the restore matrix every tenth: its scenarios are similar."""
    matrix = [entry for entry in entries if entry["id"].startswith("restore.")]
    yield from (entry for entry in entries if not entry["id"].startswith("restore."))
    yield from matrix[::_MATRIX_STRIDE]
