"""What goes along when kvmprobe itself is the program; that it runs there, the lab's tests show."""

import json
from pathlib import Path

import pytest

import kvmprobe
from kvmprobe.lab.initramfs import FileTree
from kvmprobe.lab.own_command import add_own_command
from kvmprobe.lab.program import Program


@pytest.fixture(scope="module")
def pycache(tmp_path_factory):
    return tmp_path_factory.mktemp("pycache")


@pytest.fixture(scope="module")
def tree(pycache):
    tree = FileTree()
    add_own_command(tree, pycache)
    return tree


def test_every_file_of_the_package_is_there(tree):
    package = Path(kvmprobe.__file__).parent
    files = [f for f in package.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    assert [f for f in files if str(f) not in tree] == []


def test_modules_that_are_imported_late_are_there(tree):
    # importlib.resources imports this when a package's data is read.
    library = Path(json.__file__).parents[1]
    assert str(library / "importlib" / "readers.py") in tree


def test_a_script_finds_the_command_on_path(pycache):
    payload = Program(("true",), pycache=pycache).payload()
    assert "/usr/local/bin/kvmprobe" in payload.files
    assert "/usr/local/bin" in payload.environment["PATH"].split(":")


def test_the_command_kvmprobe_is_this_one(pycache):
    payload = Program(("kvmprobe", "list"), pycache=pycache).payload()
    assert payload.command[-3:] == ("-m", "kvmprobe.cli.main", "list")
