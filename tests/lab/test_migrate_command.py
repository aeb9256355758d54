"""Guests move between emulated hosts, and every move goes as predicted."""

import json
import subprocess

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.execution import migrating, walking
from kvmprobe.moves.causes import Cause, Explained
from kvmprobe.moves.restoring import Fatal
from tests.support.command import COMMAND

pytestmark = pytest.mark.lab

KERNELS = "6.12.43,7.3.4"
CPUS = ("default", "no-amx", "no-pku")
XSS = 0xDA0
WRONG = Explained(Fatal("KVM_RUN"), Cause.DEFECT)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """The cells of all moves between six hosts in two orders, and what the command printed."""
    file = tmp_path_factory.mktemp("moves") / "moves.json"
    words = [word for cpu in CPUS for word in ("--cpu", cpu)]
    words += ["--order", "firecracker", "--order", "kselftest", "--all", "--json", file]
    command = [*COMMAND, "migrate", "--kernels", KERNELS, *map(str, words)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return ran, json.loads(file.read_text())["cells"]


def moved(cells, **wanted):
    return [cell for cell in cells if wanted.items() <= cell.items()]


def test_every_move_ran_as_predicted(matrix):
    ran, cells = matrix
    assert ran.returncode == ExitCode.OK, ran.stdout + ran.stderr
    assert len(cells) > 200
    assert all(cell["as_predicted"] for cell in cells)


def test_an_old_list_of_msrs_loses_xss(matrix):
    _, cells = matrix
    there = moved(cells, source="7.3.4", target="7.3.4", order="firecracker", into="new", use="cet")
    [lost] = there
    assert {"kind": "msr", "number": XSS} in lost["seen"]["pieces"]
    assert lost["findings"][0]["cause"] == "order"


def test_amx_is_refused_where_there_is_none(matrix):
    _, cells = matrix
    refused = moved(cells, source="6.12.43", target="7.3.4 --cpu no-amx", use="tiles")
    assert {cell["seen"]["call"] for cell in refused} == {"KVM_SET_CPUID2"}
    assert {cell["findings"][0]["cause"] for cell in refused} == {"target"}


def test_pku_is_refused_where_there_is_none(matrix):
    _, cells = matrix
    refused = moved(cells, source="6.12.43", target="7.3.4 --cpu no-pku", into="new")
    assert {cell["seen"]["call"] for cell in refused} == {"KVM_SET_SREGS"}
    assert {tuple(cell["findings"][0]["cr4"]) for cell in refused} == {("PKE",)}


@pytest.mark.parametrize(
    ("target", "order", "use", "call", "defect"),
    [
        ("6.12.43", "firecracker", "tiles", "KVM_RUN", "B1"),
        ("7.3.4", "kselftest", "xfd-armed", "KVM_SET_MSRS", "O1"),
    ],
)
def test_a_used_vcpu_takes_the_target_down(matrix, target, order, use, call, defect):
    _, cells = matrix
    [fatal] = moved(cells, source="7.3.4", target=target, order=order, into="used", use=use)
    assert (fatal["seen"]["fate"], fatal["seen"]["call"]) == ("fatal", call)
    assert fatal["findings"][0]["defects"] == [defect]


def test_an_xcr0_wider_than_the_targets_is_refused(tmp_path):
    file = tmp_path / "moves.json"
    words = ["--kernels", "7.3.4", "--cpu", "no-amx", "--cpu", "no-avx512", "--order", "crosvm"]
    words += ["--into", "new", "--all", "--json", str(file)]
    assert main(["migrate", *words]) == ExitCode.OK
    cells = json.loads(file.read_text())["cells"]
    wide, narrow = "7.3.4 --cpu no-amx", "7.3.4 --cpu no-avx512"
    [refused] = moved(cells, source=wide, target=narrow)
    assert refused["seen"]["call"] == "KVM_SET_XCRS"
    avx512 = [{"kind": "component", "number": number} for number in (5, 6, 7)]
    assert refused["findings"][0]["pieces"] == avx512
    [back] = moved(cells, source=narrow, target=wide)
    assert back["seen"]["fate"] == "goes on"


def migrate(*words):
    return main(["migrate", "--kernels", "7.3.4", "--order", "crosvm", "--into", "new", *words])


def test_a_wrong_prediction_fails_the_run(monkeypatch, capsys):
    monkeypatch.setattr(migrating, "explained", lambda *_: (WRONG,))
    assert migrate() == ExitCode.DIVERGED
    assert "goes on, where the hosts' facts say fatal KVM_RUN" in capsys.readouterr().out


def test_a_skipped_move_fails_the_run(monkeypatch, capsys):
    restore = migrating.MovingHost.restore
    monkeypatch.setattr(migrating.MovingHost, "restore", lambda *both: restore(*both)[:-1])
    assert migrate() == ExitCode.DIVERGED
    out = capsys.readouterr().out
    assert "DID NOT RUN:\n  no result\n    7.3.4 to 7.3.4, crosvm" in out
    assert "0 not as predicted, 1 did not run" in out


def test_a_kernel_that_does_not_exist_is_not_tried_and_the_others_are(capsys):
    words = ("--kernels", "7.3.4,./no-such-kernel", "--order", "crosvm", "--into", "new", "--all")
    assert main(["migrate", *words]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "not tried:\n  ./no-such-kernel: " in out
    assert "3 as predicted, 0 not as predicted, 0 did not run, 3 not tried" in out


def test_a_guest_that_walks_finds_all_that_it_had(capsys):
    assert main(["migrate", "--kernels", "7.3.4", "--walk", "10", "--seed", "5"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert ": 10 moves\n" in out
    assert "after each move the guest found all that it had, byte by byte" in out


def test_a_walk_ends_where_something_is_not_as_it_was(monkeypatch, capsys):
    monkeypatch.setattr(walking, "agrees_along", lambda *_: False)
    assert main(["migrate", "--kernels", "7.3.4", "--walk", "3"]) == ExitCode.DIVERGED
    assert "move 1 failed: 7.3.4, walk." in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--all"], ["--into", "new"], ["--html", "x"], ["--json", "x"]])
def test_what_is_for_a_matrix_is_refused_with_a_walk(words, capsys):
    assert main(["migrate", "--kernels", "7.3.4", "--walk", "3", *words]) == ExitCode.USAGE
    assert f"{words[0]} is for a matrix, which --walk excludes" in capsys.readouterr().err
