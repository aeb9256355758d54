"""What others write is read rightly or refused: no parser ends with an error that is not its own.

Valid input is damaged: bytes are changed, removed and repeated, members of JSON are replaced.
KVMPROBE_TEST_EXAMPLES=N tries N inputs for each parser instead of 60.
"""

import copy
import io
import json
import os
import random
import tarfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kvmprobe.cli.corpus import read_corpus
from kvmprobe.errors import ScenarioError, UsageError
from kvmprobe.execution.driver import Driver, Request, TraceLostError
from kvmprobe.execution.link import LinkLostError
from kvmprobe.fleet.parcel import unpack
from kvmprobe.lab import debfile, packages
from kvmprobe.lab.kernel_catalog import candidates
from kvmprobe.results.console_text import find_reports
from kvmprobe.results.matrix import PLAN, Matrix, read_matrix, runs_in
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import to_document
from tests.support.fake_link import FakePlace
from tests.support.hosts import AMX_HOST

EXAMPLES = int(os.environ.get("KVMPROBE_TEST_EXAMPLES", "60"))
often = settings(max_examples=EXAMPLES)
GOLDEN = Path(__file__).parents[1] / "golden" / "console"
INDEX = b"""\
Package: linux-image-7.3.4+deb13-cloud-amd64
Version: 7.3.4-1~bpo13+1
Depends: linux-binary-7.3.4 (= 7.3.4-1), kmod
Filename: pool/main/l/linux/linux-image.deb
Size: 1234
SHA256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

"""
# A number of more digits than int() reads, nesting, what JSON has beside finite numbers.
ODD = [None, -1, 2**70, 1e400, float("nan"), "", "\0", "../../x", [], {}, [[]], "9" * 5000, True]


@st.composite
def damaged(draw, content: bytes):
    """Return bytes of which some were changed, removed or repeated."""
    damage = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(damage)))
        end = min(start + draw(st.integers(0, 40)), len(damage))
        piece = draw(st.sampled_from(["new", "none", "twice"]))
        new = draw(st.binary(max_size=40)) if piece == "new" else damage[start:end] * 2
        damage[start:end] = b"" if piece == "none" else new
    return bytes(damage)


def places(data, path=()):
    """Yield the path of each member."""
    inside = data if isinstance(data, dict | list) else ()
    items = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for name, member in items:
        yield (*path, name)
        yield from places(member, (*path, name))


@st.composite
def misled(draw, data):
    """Return JSON of which some members have values of other types, or are gone."""
    damage = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        if not (members := [*places(damage)]):
            return copy.deepcopy(draw(st.sampled_from(ODD)))
        *way, last = draw(st.sampled_from(members))
        inside = damage
        for name in way:
            inside = inside[name]
        if draw(st.booleans()):
            inside[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            del inside[last]
    return damage


def deb_of(compression, of=bytes(3000)):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=f"w:{compression}") as tar:
        member = tarfile.TarInfo("./boot/vmlinuz")
        member.size = len(of)
        tar.addfile(member, io.BytesIO(of))
    data = content.getvalue()
    header = b"%-16s%-12d%-6d%-6d%-8s%-10d`\n" % (b"data.tar", 0, 0, 0, b"100644", len(data))
    return b"!<arch>\n" + header + data


@often
@given(data=st.data(), compression=st.sampled_from(["", "gz", "xz"]))
def test_a_package_is_read_or_damaged(tmp_path_factory, data, compression):
    deb = tmp_path_factory.getbasetemp() / "a.deb"
    deb.write_bytes(data.draw(damaged(deb_of(compression))))
    try:
        read = [(name, content.read()) for name, content in debfile.files(deb)]
    except UsageError:
        return
    assert len(read) <= 2


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_a_package_whose_content_ends_early_is_damaged(tmp_path, compression):
    deb = tmp_path / "a.deb"
    whole = deb_of(compression, random.Random(0).randbytes(3000))
    header, data = whole[:68], whole[68:1568]
    deb.write_bytes(header[:56] + b"%-10d" % len(data) + header[66:] + data)
    with pytest.raises(UsageError, match="damaged"):
        [content.read() for _, content in debfile.files(deb)]


@pytest.mark.parametrize("size", [b"-60", b"-68", b"-1000", b"1_0", b"\xb2", b""])
def test_a_member_of_a_package_has_a_decimal_size(tmp_path, size):
    deb = tmp_path / "a.deb"
    header = b"%-16s%-12d%-6d%-6d%-8s%-10s`\n" % (b"other", 0, 0, 0, b"100644", size)
    deb.write_bytes(b"!<arch>\n" + header * 3)
    with pytest.raises(UsageError, match="damaged"):
        list(debfile.files(deb))


@often
@given(damaged(INDEX * 3))
def test_a_damaged_index_has_fewer_packages_or_others(index):
    found = [*packages.scan(index, ("linux-image-",), "trixie", "https://example.org")]
    assert all(package.size >= 0 for package in found)
    candidates(found)


def test_a_size_of_many_digits_is_none():
    index = INDEX.replace(b"1234\n", b"9" * 5000 + b"\n")
    assert [*packages.scan(index, ("linux-image-",), "trixie", "https://example.org")] == []


@often
@given(data=st.data(), log=st.sampled_from(sorted(GOLDEN.glob("*.log"))))
def test_a_console_has_reports_of_what_is_in_it(data, log):
    text = data.draw(damaged(log.read_bytes())).decode("utf-8", "replace")
    for report in find_reports(text):
        assert report.text.splitlines()[0] or report.text


class HostileLink:
    """The lines of a worker, damaged."""

    def __init__(self, link, damage) -> None:
        self._link = link
        self._damage = damage

    def send(self, line):
        self._link.send(line)

    def receive(self, timeout):
        line = self._link.receive(timeout)
        return self._damage(line)

    def blocks_reached(self):
        return None


@often
@given(data=st.data())
def test_a_worker_that_says_anything_ends_its_scenario(data):
    scenario = catalog.scenarios(AMX_HOST)[data.draw(st.integers(0, 40))]

    def damage(line):
        message = json.loads(line)
        if "ready" in message or not data.draw(st.booleans()):
            return line
        if data.draw(st.booleans()):
            return data.draw(damaged(line.encode())).decode("utf-8", "replace")
        return json.dumps(data.draw(misled(message)))

    place = FakePlace(AMX_HOST)
    with place.open() as link:
        driver = Driver(HostileLink(link, damage), place.timing)
        try:
            [(_, trace)] = driver.traces([Request(scenario, 1)], AMX_HOST)
        except (TraceLostError, LinkLostError):
            return
    assert len(trace.steps) <= len(scenario.steps)


PARCEL = {
    "ending": {"worker": "w", "address": "tls://10.0.0.7:1", "open": ["a.b"]},
    "entries": [
        {"type": "begin", "schema": "kvmprobe-journal/2", "boot_id": "b", "planned": ["a.b"]},
        {
            "type": "place",
            "target": {"kind": "lab", "kernel": "7.3.4", "source": "x"},
            "real": False,
            "facts": "0" * 64,
        },
        {"type": "intent", "batch": 1, "scenarios": ["a.b"], "goes_on": False},
        {"type": "lost", "scenarios": ["a.b"], "where": "w"},
        {"type": "end", "complete": True, "not_completed": [], "notes": ["n"]},
    ],
    "payloads": {},
}


@often
@given(misled(PARCEL))
def test_a_workers_result_is_read_or_refused(data):
    try:
        unpack(zstandard.compress(json.dumps(data).encode()))
    except ScenarioError:
        return


PLANNED = {
    "schema": "kvmprobe-matrix/1",
    "matrix": {
        "argv": ["matrix"],
        "directory": "/",
        "kernels": [{"spec": "7.3.4", "folder": "7.3.4"}, {"spec": "6.12", "folder": "6.12~1"}],
    },
}


@often
@given(misled(PLANNED))
def test_a_matrix_has_runs_below_its_directory_or_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / PLAN).write_text(json.dumps(data))
    try:
        matrix = read_matrix(folder)
    except UsageError:
        return
    assert {(folder / kernel.folder).resolve().parent for kernel in matrix.kernels} <= {folder}


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", ".", "..", "a/b", "a\0b", ""])
def test_a_run_of_a_matrix_is_not_elsewhere(tmp_path, folder):
    data = copy.deepcopy(PLANNED)
    data["matrix"]["kernels"][0]["folder"] = folder
    (tmp_path / PLAN).write_text(json.dumps(data))
    with pytest.raises(UsageError, match="not the plan of a matrix"):
        runs_in(tmp_path)


def test_the_plan_of_a_matrix_of_any_specs_is_read(tmp_path):
    matrix = Matrix.of(["matrix"], "/", ["7.3.4", "./linux", "../linux", "a b", "~", "..", "ä"])
    matrix.write(tmp_path)
    assert read_matrix(tmp_path) == matrix


@often
@given(data=st.data())
def test_a_corpus_is_read_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "corpus"
    folder.mkdir(exist_ok=True)
    scenario = catalog.scenarios(AMX_HOST)[data.draw(st.integers(0, 40))]
    document = data.draw(misled(json.loads(to_document(scenario))))
    (folder / "corpus.0.json").write_text(json.dumps(document))
    try:
        read_corpus(folder)
    except (ScenarioError, UsageError):
        return
