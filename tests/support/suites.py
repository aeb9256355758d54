"""A package of a kernel's source whose selftests are a few lines each, one for each way to end."""

from __future__ import annotations

import io
import tarfile
from textwrap import dedent

from tests.support.debs import build_deb

# As KVM's lib/assert.c prints it; exit status 254.
_ASSERTION = """\
    fprintf(stderr, "==== Test Assertion Failure ====\\n  x86/fails_test.c:9: a == b\\n"
        "  pid=8 tid=8 errno=0 - Success\\n     1\\t0x401d4b: main\\n  1 != 2 (a != b)\\n");
    return 254;
"""
PROGRAMS = {
    "kvm/passes_test": 'return open("/dev/kvm", O_RDWR) < 0;',
    "kvm/skips_test": 'puts("1..0 # SKIP - Requirement not met: X"); return 4;',
    "kvm/fails_test": _ASSERTION,
    "kvm/slow_test": 'puts("waits"); fflush(stdout); for (;;) pause();',
    "kvm/panics_test": 'return write(open("/proc/sysrq-trigger", O_WRONLY), "c", 1) != 1;',
    "kvm/broken_test": "return this_is_not_c;",
    "x86/amx": 'puts("[OK]\\tdone"); return 0;',
    "x86/fsgsbase": "return 0;",
}
_HEAD = "#include <fcntl.h>\n#include <stdio.h>\n#include <unistd.h>\nint main(void)\n{\n"
_MAKEFILES = {
    "Makefile": "headers:\n\t@echo headers\n",
    "tools/testing/selftests/kvm/Makefile": dedent("""\
        TEST_GEN_PROGS := passes_test skips_test fails_test slow_test panics_test broken_test
        TEST_PROGS := huge.sh
        all: $(TEST_GEN_PROGS)
        """),
    "tools/testing/selftests/x86/Makefile": dedent("""\
        TARGETS_C_64BIT_ALL := amx fsgsbase
        all_64: $(TARGETS_C_64BIT_ALL:%=%_64)
        %_64: %.c
        \t$(CC) -o $@ $<
        """),
    # Not needed, and not unpacked.
    "fs/ext4/super.c": "int super;\n",
    "drivers/gpu/large.h": "#define LARGE\n",
}


def source_package(folder):
    """Write linux-source-7.3 with these programs into a folder; return its path."""
    files = _MAKEFILES | {
        f"tools/testing/selftests/{name}.c": f"{_HEAD}    {body}\n}}\n"
        for name, body in PROGRAMS.items()
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"linux-source-7.3/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    content = {"usr/src/linux-source-7.3.tar.xz": packed.getvalue()}
    return build_deb(folder / "linux-source-7.3_7.3.4-1_all.deb", content)
