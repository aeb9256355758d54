"""``kvmprobe judge --replay`` on this host."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from tests.support.recorded_scenarios import recorded

pytestmark = pytest.mark.kvm


def replayed(path, capsys):
    status = main(["judge", "--replay", "--json", str(path)])
    [judgement] = json.loads(capsys.readouterr().out)["judgements"]
    return status, judgement


def test_a_restore_without_amx_is_replayed_and_the_kernel_is_not_accused(tmp_path, capsys):
    path = recorded("host", "vmm.kselftest.no-tiles", tmp_path / "r")
    _, judgement = replayed(path, capsys)
    assert judgement["replayed"] == judgement["calls"] > 20
    assert [one for one in judgement["findings"] if one["rule"] == "not-as-modelled"] == []


def test_a_recording_with_amx_is_replayed_on_whatever_this_host_is(tmp_path, capsys):
    path = recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r")
    status, judgement = replayed(path, capsys)
    assert judgement["judged"] > 0
    failing = [one for one in judgement["findings"] if one["level"] != "note"]
    assert status == (ExitCode.DIVERGED if failing else ExitCode.OK)
    assert {one["rule"] for one in failing} <= {"fails-here", "stopped-before"}
