"""Parsers of what users write or are sent: documents, orders, recordings, saved guests, facts."""

from __future__ import annotations

import json
import lzma
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

from kvmprobe.cli.corpus import read_corpus
from kvmprobe.cli.judged_host import judged_hosts
from kvmprobe.cli.recorded_order import is_recording, order_file
from kvmprobe.cli.scenario import read
from kvmprobe.cli.trace import _layout as layout_of
from kvmprobe.errors import KvmprobeError, ScenarioError, UsageError
from kvmprobe.execution.probe_document import read_probe
from kvmprobe.model.lesser_cpu import on_lesser_cpu
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.moves.compatibility import compatibility
from kvmprobe.moves.guests import Use
from kvmprobe.moves.restoring import Into
from kvmprobe.moves.resuming import NotTaken, resuming
from kvmprobe.moves.saved_guest import from_bytes, to_text
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.reports.explain import explain
from kvmprobe.reports.moves import compatibility_json, compatibility_lines
from kvmprobe.reports.recording.story import story
from kvmprobe.reports.vmm_review import review_lines
from kvmprobe.repro.program import program
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.attached.reading import read_attached
from kvmprobe.scenarios.attached.replaying import replaying
from kvmprobe.scenarios.catalog.vmm import restoring
from kvmprobe.scenarios.document import to_document
from kvmprobe.scenarios.presets import presets, read_preset, to_toml
from kvmprobe.vmm.reissue import ReadBack, reissue
from kvmprobe.vmm.review import Reviewer
from tests.support.attached import EXAMPLES
from tests.support.hosts import AMX_HOST
from tests.support.parser import Parser, in_file
from tests.support.saved_guests import saved_guest

_TESTS = Path(__file__).parents[1]
_LINES_OF_A_PROGRAM = 120


def _documents() -> list[bytes]:
    every = catalog.scenarios(AMX_HOST)
    families = {scenario.family: scenario for scenario in every}
    return [to_document(scenario).encode() for scenario in families.values()]


def _read_document(file: Path) -> object:
    scenario = read(file)
    host = sapphire_rapids()
    assert read(_written(file, to_document(scenario).encode())) == scenario
    return explain(scenario, host), program(scenario, host)


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def _read_corpus(content: bytes, folder: Path) -> object:
    (folder / "corpus.0.json").write_bytes(content)
    return read_corpus(folder)


def _orders() -> list[bytes]:
    return [to_toml(preset).encode() for preset in presets()[:6]]


def _read_order(file: Path) -> object:
    preset = read_preset(file)
    assert read_preset(_written(file, to_toml(preset).encode())).tokens == preset.tokens
    return list(restoring(preset, AMX_HOST))


def _attached() -> list[bytes]:
    return list(EXAMPLES.values())


def _read_attached(content: bytes, _folder: Path) -> object:
    return to_document(replaying("attached.x", {"file": read_attached(content)}))


@cache
def _recordings() -> list[bytes]:
    """The beginnings of those of real programs; one with an entry of each kind."""
    found = []
    for packed in sorted((_TESTS / "recordings").glob("*.jsonl.xz")):
        lines = lzma.decompress(packed.read_bytes()).splitlines(keepends=True)
        short = [line for line in lines if len(line) < 8000]
        found.append(b"".join([*short[:_LINES_OF_A_PROGRAM], short[-1]]))
    return found


def _read_recording(file: Path) -> object:
    is_recording(file)
    shown = []
    with RecordingReader(file) as reader:
        asked = (reader.host, reader.header.kernel, (), ())
        for lines in story(reader, layout_of(reader.host)):
            shown += lines
    with RecordingReader(file) as reader:
        entries = list(reader)
    for host in judged_hosts(*asked):
        reviewer = Reviewer(host.profile, host.kernel)
        for entry in entries:
            reviewer.take(entry)
        shown += review_lines(reviewer.finished(), host.kernel)
    for read_back in ReadBack:
        reissue(entries, AMX_HOST, read_back)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        return order_file(file), shown


def _guests() -> list[bytes]:
    cases = ((order, use) for order in ("qemu-full", "cloud-hypervisor") for use in Use)
    found = []
    for order, use in cases:
        try:
            guest = saved_guest(AMX_HOST, order, use)
        except (KeyError, KvmprobeError, StopIteration):
            continue
        found.append(to_text(guest).encode())
    return found


def _read_guest(content: bytes, _folder: Path) -> object:
    guest = from_bytes(content)
    order = next(preset for preset in presets() if preset.name == "qemu-full")
    assert from_bytes(to_text(guest).encode()) == guest
    return resuming(guest, order, AMX_HOST)


def _probes() -> list[bytes]:
    return [file.read_bytes() for file in sorted((_TESTS / "probes").glob("*.json"))]


@cache
def _target():
    return read_probe(_TESTS / "probes" / "7.3.4.json")


def _read_probe(file: Path) -> object:
    source, order = read_probe(file), presets()[:1]
    found = []
    for one, other in ((source, _target()), (_target(), source)):
        result = compatibility(one.profile, other.profile, order, Into.NEW)
        found += [compatibility_json(result, one, other), *compatibility_lines(result, one, other)]
    on_lesser_cpu(source.profile, "no-xsaves")
    return json.dumps(found)


PARSERS = (
    Parser("saved guest", _guests, _read_guest, (ScenarioError, UsageError, NotTaken)),
    Parser("recording", _recordings, in_file(_read_recording, "a.jsonl"), (UsageError,)),
    Parser("probe document", _probes, in_file(_read_probe, "probe.json"), (UsageError,)),
    Parser(
        "scenario document",
        _documents,
        in_file(_read_document, "a.json"),
        (ScenarioError, UsageError),
    ),
    Parser("corpus", _documents, _read_corpus, (ScenarioError, UsageError)),
    Parser("restore order", _orders, in_file(_read_order, "order.toml"), (UsageError,)),
    Parser("attached file", _attached, _read_attached, (ScenarioError,)),
)
