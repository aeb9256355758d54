"""``kvmprobe list``."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode

ARMED_LAST = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"


def listed(capsys, *arguments):
    assert main(["list", *arguments]) == ExitCode.OK
    return capsys.readouterr().out


def test_ids_stand_one_a_line(capsys):
    shown = listed(capsys, "--select", "permission.get.*", "--exclude", "tag:fork, tag:exec")
    assert shown.splitlines() == [
        "permission.get.main",
        "permission.get.thread",
        "permission.get.shared-mm",
    ]


def test_long_has_all_that_a_scenario_can_be_selected_by(capsys):
    lines = listed(capsys, "--long", "--select", ARMED_LAST).splitlines()
    fields = {line.split()[0]: line.split()[1:] for line in lines[1:] if line[2] != " "}
    assert lines[0] == ARMED_LAST
    assert fields["tags:"] == ["restore", "amx"]
    assert fields["needs:"] == ["amx"]
    assert fields["ops:"][:3] == ["open-kvm", "req-guest-perm", "create-vm"]
    assert fields["hazards:"][:4] == ["O1:", "step", "11,", "KVM_RUN:"]
    assert fields["defects:"] == ["O1"]


def test_long_leaves_out_what_a_scenario_has_not(capsys):
    shown = listed(capsys, "--long", "--select", "permission.get.main")
    assert [name for name in ("needs:", "hazards:", "defects:") if name in shown] == []


def test_json_is_one_document_with_a_scenario_a_line(capsys):
    shown = listed(capsys, "--json", "--select", f"{ARMED_LAST}, permission.get.thread")
    document = json.loads(shown)
    assert document["schema"] == "kvmprobe-list/1"
    assert [json.loads(line.rstrip(",")) for line in shown.splitlines()[1:-1]] == (
        document["scenarios"]
    )


def test_json_has_the_same(capsys):
    document = json.loads(listed(capsys, "--json", "--select", ARMED_LAST))
    (scenario,) = document["scenarios"]
    assert {name: scenario[name] for name in ("family", "tags", "needs", "defects")} == {
        "family": "restore",
        "tags": ["restore", "amx"],
        "needs": ["amx"],
        "defects": ["O1"],
    }
    (hazard,) = scenario["hazards"]
    assert (hazard["step"], hazard["defects"]) == (11, ["O1"])


def test_an_error_shows_its_place(capsys):
    assert main(["list", "--select", "restore.* & opp:x"]) == ExitCode.USAGE
    assert capsys.readouterr().err.splitlines() == [
        "kvmprobe: --select: unknown kind of term 'opp'",
        "  restore.* & opp:x",
        "              ^^^",
        "  valid: id, op, tag, hazard, defect",
    ]


def test_long_and_json_exclude_each_other():
    with pytest.raises(SystemExit) as ended:
        main(["list", "--long", "--json"])
    assert ended.value.code == ExitCode.USAGE
