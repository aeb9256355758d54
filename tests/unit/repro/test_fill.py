"""Statements for bytes, compiled and run: they must produce exactly these bytes."""

import subprocess

import pytest

from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.repro import chunks
from kvmprobe.repro.ctext import block
from kvmprobe.repro.fill import component_name, statements
from kvmprobe.xstate import patterns
from kvmprobe.xstate.malformations import Malformation, malformed_image
from tests.support.reproducers import build

HOST = sapphire_rapids()
SIZE = 11008
TILES = 0x60000
ODD = {
    f"{malformation.value}": malformed_image(0x602E7, malformation, 3, HOST.layout, SIZE, 0xFFFF)
    for malformation in Malformation
}
IMAGES = {
    "tiles": patterns.image(TILES, HOST.layout, SIZE, 0xFFFF),
    "nothing": bytes(SIZE),
    "cut off in the header": patterns.image(TILES, HOST.layout, SIZE, 0xFFFF)[:600],
    **ODD,
}
PLAIN = {
    "one byte": b"\x01",
    "a byte at an odd place": b"\0\0\0\0\0\0\0\x80\0",
    "three bytes": b"\1\2\3",
    "a tile": patterns.counted(18, 8192)[1024:2048],
    "the last word apart": patterns.counted(5, 64)[:-4] + b"\xff\xff\xff\xff",
    "one value": b"\xee" * 77,
    "runs with a gap": b"\1" * 5 + bytes(30) + b"\2" * 5,
    "counting over and over": bytes(range(256)) * 3,
}
ALL = [(name, content, HOST.layout) for name, content in IMAGES.items()]
ALL += [(name, content, None) for name, content in PLAIN.items()]


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """Compile all contents into one program that writes the one of a number."""
    fills, sizes = [], []
    for number, (_, content, layout) in enumerate(ALL):
        body = block(statements(content, "bytes", layout) or ["(void)bytes;"])
        fills.append(f"static void fill_{number}(uint8_t *bytes)\n{{\n{body}\n}}")
        sizes.append(f"{{ {len(content)}, fill_{number} }},")
    table = "static struct { size_t size; void (*fill)(uint8_t *); } all[] = {\n"
    main = (
        "int main(int argc, char **argv)\n{\n"
        "\tint nr = argc > 1 ? atoi(argv[1]) : 0;\n"
        "\tuint8_t *bytes = calloc(1, all[nr].size);\n"
        "\tall[nr].fill(bytes);\n"
        "\tfwrite(bytes, 1, all[nr].size, stdout);\n"
        "\treturn 0;\n}"
    )
    places = [f"#define {component_name(c.nr)} {c.offset}" for c in HOST.layout.components]
    code = "\n".join([*places, *fills, table, *sizes, "};", main])
    needed = [chunk.text for chunk in chunks.needed(code)]
    includes = "\n".join(f"#include <{header}>" for header in chunks.ALWAYS)
    whole = "\n\n".join(["#define _GNU_SOURCE", includes, *needed, code])
    program = build(whole, tmp_path_factory.mktemp("fill"))
    return lambda number: subprocess.run([program, str(number)], capture_output=True, check=True)


@pytest.mark.parametrize("number", range(len(ALL)), ids=[name for name, _, _ in ALL])
def test_statements_write_exactly_the_bytes(dump, number):
    assert dump(number).stdout == ALL[number][1]


def test_an_image_of_patterns_takes_a_few_lines():
    lines = statements(patterns.image(0x602E7, HOST.layout, SIZE, 0xFFFF), "image", HOST.layout)
    assert len(lines) < 20
    assert "put_tile_configuration(image + XSAVE_XTILE_CFG);" in lines
