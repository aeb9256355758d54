"""What goes along when kvmprobe itself is the program; that it runs there, the lab's tests show."""

import json
from pathlib import Path

import pytest

import kvmprobe
from kvmprobe.lab.program import Program


@pytest.fixture(scope="module")
def pycache(tmp_path_factory):
    return tmp_path_factory.mktemp("pycache")


@pytest.fixture(scope="module")
def payload(pycache):
    """What a program that is not kvmprobe has with it."""
    return Program(("true",), pycache=pycache).payload()


def test_every_file_of_the_package_is_there(payload):
    package = Path(kvmprobe.__file__).parent
    files = [f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    assert [f for f in files if str(f) not in payload.files] == []


def test_modules_that_are_imported_late_are_there(payload):
    # importlib.resources imports this when a package's data is read.
    library = Path(json.__file__).parents[1]
    assert str(library / "importlib" / "readers.py") in payload.files


def test_a_script_finds_the_command_on_path(payload):
    assert "/usr/local/bin/kvmprobe" in payload.files
    assert "/usr/local/bin" in payload.environment["PATH"].split(":")


def test_the_command_kvmprobe_is_this_one(pycache):
    payload = Program(("kvmprobe", "list"), pycache=pycache).payload()
    assert payload.command[-3:] == ("-m", "kvmprobe.cli.main", "list")
