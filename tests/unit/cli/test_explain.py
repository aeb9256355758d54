"""``kvmprobe explain``: which host it is about."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.execution.journaling import Journaling
from kvmprobe.execution.place import Risk
from kvmprobe.results.run_directory import RunDirectory
from kvmprobe.results.transcript import Transcript
from tests.support.fake_runs import run_of, some_scenarios

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"
XSS = "msrs.xss.cpuid"
ARMED_AFTER_IMAGE = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"


@cache
def transcript_of(kernel):
    return Transcript.from_bytes((TRANSCRIPTS / f"{kernel}.xz").read_bytes())


@pytest.fixture
def keep_run(tmp_path, monkeypatch):
    """Keep a run on a kernel, with the facts that its transcript has; returns its directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def kept(*kernels):
        path = tmp_path / "kvmprobe" / "runs" / "-".join(kernels)
        begin = {
            "run_id": "-".join(kernels),
            "tool": "kvmprobe",
            "command": ["kvmprobe", "run"],
            "boot_id": "boot",
            "time": "2026-11-28T12:00:00Z",
            "argv": ["run"],
            "directory": "/",
            "planned": [],
        }
        directory = RunDirectory.create(path, begin)
        journaling = Journaling(directory)
        for kernel in kernels:
            transcript = transcript_of(kernel)
            behaviours = {"found": [b.name for b in transcript.behaviours], "undetermined": []}
            facts = {**transcript.facts, "behaviours": behaviours}
            journaling.place(transcript.target, Risk.EXPENDABLE, facts)
            (record,) = run_of(kernel, some_scenarios(1)).records
            journaling.record(replace(record, target=transcript.target))
        directory.close()
        return path

    return kept


def explained(capsys, *arguments):
    assert main(["explain", *arguments]) == ExitCode.OK
    return capsys.readouterr().out


def line_with(text, start):
    return next(line for line in text.splitlines() if start in line)


def test_it_says_which_host_it_assumes(capsys):
    lines = explained(capsys, XSS).splitlines()
    assert lines[0].startswith("host: a Sapphire Rapids, assumed")
    assert lines[1:3] == ["variants: none", "defects: none"]


@pytest.mark.parametrize("by", ["directory", "kernel"])
def test_a_kept_run_gives_host_and_kernel(by, keep_run, capsys):
    path = keep_run("7.3.4")
    text = explained(capsys, XSS, "--kernel", str(path) if by == "directory" else "7.3.4")
    # KVM 7.3.4 lists CET_USER and CET_KERNEL, so a guest may have both in IA32_XSS.
    assert "KVM_SET_MSRS(XSS=0x1800) -> returns 1" in text
    assert line_with(text, "host: ").startswith("host: 7.3.4 ")
    assert "ONE_REG_MSRS" in line_with(text, "variants: ")


def test_the_defects_of_that_kernel_are_named_and_left_out(keep_run, capsys):
    path = str(keep_run("6.12.43"))
    text = explained(capsys, ARMED_AFTER_IMAGE, "--kernel", path)
    assert line_with(text, "defects: ").startswith("defects: none; this kernel has B1")
    assert "the host dies" not in text
    assert "the host dies" in explained(
        capsys, ARMED_AFTER_IMAGE, "--kernel", path, "--defect", "O1"
    )


def test_one_of_a_run_on_several_kernels_is_named_by_its_kernel(keep_run, capsys):
    path = str(keep_run("6.12.43", "7.3.4"))
    assert main(["explain", XSS, "--kernel", path]) == ExitCode.USAGE
    assert "several hosts: 6.12.43, 7.3.4; name one by its kernel" in capsys.readouterr().err
    assert "returns 1" in line_with(explained(capsys, XSS, "--kernel", "7.3.4"), "XSS=0x1800")


def test_a_variant_can_be_given(capsys):
    name = "permission.request-guest.main"
    assert "GUEST_PERM(19) -> -EINVAL" in explained(capsys, name)
    text = explained(capsys, name, "--variant", "KNOWS_APX")
    assert line_with(text, "variants: ") == "variants: KNOWS_APX"
    assert "GUEST_PERM(19) -> -EOPNOTSUPP" in text


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--variant", "KNOWS_NOTHING", "valid: KNOWS_APX, "),
        ("--variant", "VCPU_ID_TRUNCATED", "unknown variant"),
        ("--defect", "X9", "valid: B1, "),
        ("--kernel", "9.9.9", "kvmprobe run --kernel 9.9.9"),
    ],
)
def test_what_does_not_exist_is_refused(option, value, says, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["explain", XSS, option, value]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["B1", "CVE-2026-23005", "SET_XSAVE_KEEPS_XFD_ARMED", "restore_fpregs_from_fpstate"]
)
def test_a_known_defect_is_explained_by_any_of_its_names(name, capsys):
    assert main(["explain", name]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "CVE-2026-23005 (B1), fixed in 6.1.162, 6.12.67, 6.18.9, 6.19: KVM_SET_XSAVE" in printed
    assert "kvmprobe list --select hazard:B1" in printed


def test_every_defect_with_the_function_of_a_panic_is_explained(capsys):
    main(["explain", "restore_fpregs_from_fpstate"])
    starts = [line.split(",")[0] for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    assert starts == ["CVE-2026-23005 (B1)", "O1"]


def test_a_function_that_no_known_defect_panics_in_is_an_error_with_the_valid_names(capsys):
    assert main(["explain", "kvm_vcpu_block"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "'kvm_vcpu_block' is neither a scenario nor a known defect" in said
    assert "known defects: B1, O1," in said
