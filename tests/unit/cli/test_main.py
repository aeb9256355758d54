"""The command line without a kernel: usage, listing, exit statuses."""

import re

import pytest

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.lab.emulator import POOL_PATH
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog

EXAMPLE = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"


def test_list_prints_every_scenario(capsys):
    assert main(["list"]) == ExitCode.OK
    listed = capsys.readouterr().out.split()
    assert listed == [s.id for s in catalog.scenarios(sapphire_rapids())]


def test_list_takes_a_glob(capsys):
    main(["list", "--select", EXAMPLE])
    assert capsys.readouterr().out.split() == [EXAMPLE]


def test_glob_that_matches_nothing_is_a_usage_error(capsys):
    assert main(["list", "--select", "nothing.*"]) == ExitCode.USAGE
    assert "matches no scenario" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--target", "host", "--kernel", "7.3.4"], "excludes --target host"),
        (["--target", "host", "--all-crashes"], "needs --hazardous"),
        (["--modules", "/tmp"], "only for a bzImage"),
    ],
)
def test_options_that_contradict_each_other_are_a_usage_error(arguments, says, capsys):
    assert main(["run", *arguments]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


def test_unknown_option_ends_with_the_usage_status():
    with pytest.raises(SystemExit) as ended:
        main(["run", "--no-such-option"])
    assert ended.value.code == ExitCode.USAGE


def test_help_documents_the_exit_statuses(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "124  the run reached its --timeout" in capsys.readouterr().out


def test_missing_device_means_nothing_could_run(capsys):
    assert main(["run", "--target", "host", "--device", "/no/kvm"]) == ExitCode.NOTHING_RAN
    assert "load kvm_intel or kvm_amd" in capsys.readouterr().err


def test_unreadable_kernel_spec_is_a_usage_error(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("KVMPROBE_CACHE", str(tmp_path))
    status = main(["lab", "exec", "--kernel", "/no/such/bzImage", "--", "/bin/true"])
    assert status == ExitCode.USAGE
    assert "/no/such/bzImage" in capsys.readouterr().err


def test_explain_shows_a_scenario_of_the_catalogue(capsys):
    assert main(["explain", EXAMPLE]) == ExitCode.OK
    assert (
        capsys.readouterr()
        .out.partition("defects: none\n")[2]
        .startswith(f"{EXAMPLE}\nstep 0: open(/dev/kvm)")
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["restore.nothing"], "unknown scenario"),
        ([EXAMPLE, "--defect", "X9"], "valid: B1, "),
    ],
)
def test_explain_refuses_what_it_does_not_know(arguments, says, capsys):
    assert main(["explain", *arguments]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


def test_ops_names_the_kernel_call_and_errnos_of_each(capsys):
    assert main(["ops"]) == ExitCode.OK
    shown = capsys.readouterr().out
    assert ["set-xcrs", "KVM_SET_XCRS"] in [line.split() for line in shown.splitlines()]
    assert "EBUSY (16): this process has created a vCPU" in shown


# Each option that takes a number, with a command line that has it last.
_NUMBERS = {
    "--timeout": ["run"],
    "--scenario-timeout": ["run"],
    "--step-timeout": ["run"],
    "resume --timeout": ["resume", "DIR"],
    "--retries": ["resume", "DIR"],
    "--memory": ["lab", "exec"],
    "--disk-size": ["lab", "exec"],
    "--silence": ["lab", "exec"],
    "--cpus": ["lab", "exec"],
}


@pytest.mark.parametrize("text", ["inf", "nan", "-1", "1e400", "99999999999999999999", "x", ""])
@pytest.mark.parametrize("option", _NUMBERS)
def test_a_number_out_of_range_is_a_usage_error_with_the_range(option, text, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*_NUMBERS[option], f"{option.split()[-1]}={text}", "--", "program"])
    assert ended.value.code == ExitCode.USAGE
    assert re.search(r" from [0-9.]+ to \d+\n$", capsys.readouterr().err)


def test_a_scenario_may_take_as_long_as_poll_can_wait():
    # Ten times that on the emulated host, in a signed number of milliseconds.
    longest = parser(["run"]).parse_args(["run", "--scenario-timeout", "86400"]).scenario_timeout
    assert longest * 10 * 1000 < 1 << 31


@pytest.mark.parametrize("target", [[], ["--target", "lab"], ["--json", "run.json"]])
def test_without_the_kernel_there_is_no_run(target, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("KVMPROBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    archive = ["--archive", f"file://{tmp_path}/empty stable"]
    status = main(["run", "--kernel", "9.9.9", *archive, "--out", "run", *target])
    assert status == ExitCode.NOTHING_RAN
    assert "did not complete" not in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


@pytest.mark.parametrize(
    ("words", "command"), [([], "list the scenarios"), (["lab"], "build the emulator")]
)
def test_without_a_command_the_help_is_printed(words, command, capsys):
    assert main(words) == ExitCode.USAGE
    assert command in capsys.readouterr().err


@pytest.mark.parametrize("words", [["run"], ["replay"], ["repro"], ["lab", "setup"]])
def test_the_help_names_the_tarball_of_the_emulator(words, capsys):
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    printed = "".join(capsys.readouterr().out.split())
    folder, _, name = POOL_PATH.rpartition("/")
    assert name in printed
    assert folder in printed


def test_a_file_that_is_not_json_is_reported_as_that(tmp_path, capsys):
    path = tmp_path / "passwd"
    path.write_text("root:x:0:0\n")
    assert main(["replay", str(path)]) == ExitCode.USAGE
    says = f"kvmprobe: {path}: not JSON: line 1, column 1: Expecting value\n"
    assert capsys.readouterr().err == says
