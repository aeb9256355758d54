"""The examples of attached files, replayed and judged on this machine's KVM."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from tests.support.attached import DUMP, FOLDER


@pytest.mark.parametrize(
    "files",
    [("template-avx2.json",), ("template-no-amx.json",), DUMP, (DUMP[0], DUMP[2])],
    ids=["avx2", "no-amx", "dump", "dump-without-sregs"],
)
def test_it_is_judged_and_passes(files, tmp_path):
    scenario, record = tmp_path / "scenario.json", tmp_path / "run.json"
    main(["convert", *(str(FOLDER / name) for name in files), "-o", str(scenario)])
    arguments = ["replay", str(scenario), "--target", "host", "--json", str(record)]
    assert main(arguments) == ExitCode.OK
    (written,) = json.loads(record.read_text())["scenarios"]
    assert written["verdict"] == "PASS"
