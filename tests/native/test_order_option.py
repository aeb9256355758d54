"""``kvmprobe run --order`` on this host."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.results.run_document import read_run

pytestmark = pytest.mark.kvm
ORDER = """\
program = "my VMM"
version = "1"
source = "here"
calls = ["cpuid", "sregs", "xcrs", "xsave", "events"]
states = ["no-tiles"]
"""
SCENARIO = "vmm.my-vmm.no-tiles"


@pytest.fixture
def order(tmp_path):
    path = tmp_path / "my-vmm.toml"
    path.write_text(ORDER)
    return path


def run(*words):
    return main(["run", "--target", "host", *map(str, words)])


def test_an_order_runs_and_is_kept(order, tmp_path):
    assert run("--order", order, "--out", tmp_path / "run") == ExitCode.OK
    assert [record.id for record in read_run(tmp_path / "run").records] == [SCENARIO]
    kept = tmp_path / "run" / "scenarios" / f"{SCENARIO}.json"
    assert json.loads(kept.read_text())["id"] == SCENARIO


def test_resume_takes_the_order_that_was_kept(order, tmp_path, capsys):
    out = tmp_path / "run"
    run("--order", order, "--out", out)
    journal = out / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if f'"id":"{SCENARIO}"' not in line))
    order.unlink()
    assert main(["resume", str(out)]) == ExitCode.OK
    assert [record.id for record in read_run(out).records] == [SCENARIO]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--select", "fpu.*"], "--order runs its own scenarios"),
        (["--order", "{order}"], "another file is called 'my-vmm' as well"),
    ],
)
def test_what_contradicts_it_is_refused(words, message, order, capsys):
    words = [word.format(order=order) for word in words]
    assert run("--order", order, *words) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_the_name_of_a_built_in_order_is_refused(order, capsys):
    taken = order.rename(order.with_name("crosvm.toml"))
    assert run("--order", taken) == ExitCode.USAGE
    assert "--select 'vmm.crosvm.*' runs" in capsys.readouterr().err
