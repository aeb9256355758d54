"""What others write is read rightly or refused: no parser ends with an error that is not its own.

KVMPROBE_TEST_EXAMPLES=N tries N inputs for each parser instead of 15; ``scripts/fuzz_parsers``
tries as many as a time allows, guided by coverage.
"""

import copy
import json
import os
import random

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab import debfile, packages
from kvmprobe.results.matrix import PLAN, Matrix, read_matrix, runs_in
from tests.support.damage import damaged
from tests.support.parsers import PARSERS
from tests.support.parsers_of_archives import INDEX, deb_of

EXAMPLES = int(os.environ.get("KVMPROBE_TEST_EXAMPLES", "15"))


def is_read(parser, content, folder):
    """Return False for what the parser refuses; an input that it fails on stays in the folder."""
    (folder / "input").write_bytes(content)
    work = folder / "work"
    work.mkdir()
    try:
        parser.read(content, work)
    except parser.refusals:
        return False
    return True


@pytest.mark.parametrize("name", PARSERS)
def test_damaged_input_is_read_or_refused(name, tmp_path):
    parser = PARSERS[name]
    seeds, chance = parser.seeds(), random.Random(name)
    for number in range(EXAMPLES):
        (tmp_path / str(number)).mkdir()
        is_read(parser, damaged(chance.choice(seeds), chance), tmp_path / str(number))


@pytest.mark.parametrize("name", sorted(PARSERS.keys() - {"worker facts"}))
def test_some_input_without_damage_is_read(name, tmp_path):
    # What is refused at once, no damage gets through.  Facts are followed by answers.
    for number, content in enumerate(PARSERS[name].seeds()):
        (tmp_path / str(number)).mkdir()
        if is_read(PARSERS[name], content, tmp_path / str(number)):
            return
    raise AssertionError(f"every input of {name} is refused")


@pytest.mark.parametrize("compression", ["", "gz", "xz"])
def test_a_package_whose_content_ends_early_is_damaged(tmp_path, compression):
    deb = tmp_path / "a.deb"
    whole = deb_of(compression, {"boot/vmlinuz": random.Random(0).randbytes(3000)})
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


def test_a_size_of_many_digits_is_none():
    index = INDEX.replace(b"1234\n", b"9" * 5000 + b"\n")
    assert [*packages.scan(index, ("linux-image-",), "trixie", "https://example.org")] == []


PLANNED = {
    "schema": "kvmprobe-matrix/1",
    "matrix": {
        "argv": ["matrix"],
        "directory": "/",
        "kernels": [{"spec": "7.3.4", "folder": "7.3.4"}, {"spec": "6.12", "folder": "6.12~1"}],
    },
}


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
