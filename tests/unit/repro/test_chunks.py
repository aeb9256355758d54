"""The ready-made C: each name is defined only once."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files

from kvmprobe.abi.c_constants import c_constants
from kvmprobe.repro.chunks import all_chunks, needed


def test_no_name_is_defined_twice():
    # A declaration before a definition is not a definition.
    defined = Counter(name for chunk in all_chunks() for name in chunk.defines)
    assert {name for name, count in defined.items() if count > 1} <= {"call_of_task"}


def test_no_c_of_ours_defines_a_constant_that_python_gives_it():
    texts = [
        file.read_text()
        for folder in (files("kvmprobe.native"), files("kvmprobe.native") / "shared")
        for file in [*folder.iterdir()]
        if file.name.endswith((".c", ".h", ".S"))
    ]
    texts += [file.read_text() for file in (files("kvmprobe.repro") / "c").iterdir()]
    defined = {
        name
        for text in texts
        for name in re.findall(r"^#define (\w+)|^\s*(\w+) = [\w-]+,", text, re.MULTILINE)
        for name in name
    }
    assert not defined & set(c_constants())


def test_a_constant_comes_with_what_names_it():
    (reset,) = [c for c in needed("map_payload") if "RESET_PAGE" in c.defines]
    assert reset.text == "#define RESET_PAGE 0xfffff000"
