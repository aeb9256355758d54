"""The host's own processor, held to the manual; what it contradicts is wrong in the program.

Reported, not recorded here: an Intel processor with AMX in user space (signature 0xa0678) agreed
with 84 checks of amx_user and 122 of xsave_user as they were.  It contradicted one, that XINUSE[9]
is 0 if PKRU is 0; SDM vol.1 13.6 does not require that, and the check was corrected.
"""

from __future__ import annotations

import pytest

from tests.support import silicon
from tests.support.conformance import checks_of, compiled


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    return {name: silicon.shown_by(compiled(name, folder)) for name in silicon.PROGRAMS}


@pytest.mark.parametrize("program", silicon.PROGRAMS)
def test_the_processor_behaves_as_the_manual_specifies(shown, program):
    assert shown[program]["not ok"] == []


@pytest.mark.parametrize("program", silicon.PROGRAMS)
def test_a_check_that_did_not_run_says_what_the_processor_lacks(shown, program):
    # The emulated host runs every check; here, a line says what this processor lacks for it.
    lines = shown[program]
    checks = set(checks_of(program))
    ran, skipped = ({line.split()[0] for line in lines[kind]} for kind in ("ok", "skip"))
    skips_a_group = skipped - checks
    assert skips_a_group or checks - ran - skipped == set()


def test_the_record_of_this_processor_matches_its_results(shown):
    record = silicon.record_of(shown)
    known = silicon.records().get(silicon.signature())
    # A hypervisor may hide components of the same processor; without a record nothing is compared,
    # nor where a program has changed since.
    if known is not None and known["xcr0"] == record["xcr0"]:
        assert [
            name
            for name, found in record["programs"].items()
            for recorded in [known["programs"].get(name, {})]
            if recorded.get("source") == found["source"] and recorded != found
        ] == []


@pytest.mark.parametrize("signature", silicon.records())
def test_no_processor_contradicts_a_check(signature):
    programs = silicon.records()[signature]["programs"]
    assert [line for found in programs.values() for line in found["not ok"]] == []
