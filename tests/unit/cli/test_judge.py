"""``kvmprobe judge``."""

import json
from xml.etree import ElementTree as ET

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from tests.support.recorded_scenarios import recorded

FAULTY = "vmm.firecracker.cet"
CORRECT = "vmm.kselftest.no-tiles"


@pytest.fixture
def faulty(tmp_path):
    return recorded("7.3.4", FAULTY, tmp_path / "faulty.jsonl")


def judge(*words):
    return main(["judge", *map(str, words)])


def test_a_warning_makes_the_status_1(faulty, capsys):
    assert judge(faulty) == ExitCode.DIVERGED
    assert "restores IA32_XSS, which the guest's CPUID offers" in capsys.readouterr().out


def test_notes_do_not(tmp_path, capsys):
    path = recorded("7.3.4", CORRECT, tmp_path / "r")
    assert judge(path) == ExitCode.OK
    assert "0 errors, 0 warnings, 1 note" in capsys.readouterr().out


def test_what_is_not_judged_is_listed(faulty, capsys):
    judge(faulty)
    listed = "not judged, as it moves no FPU state: KVM_CREATE_IRQCHIP 1, KVM_CREATE_VM 1"
    assert listed in capsys.readouterr().out


def test_each_kernel_is_judged_by_the_defects_of_its_number(tmp_path, capsys):
    scenario = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
    path = recorded("6.12.95", scenario, tmp_path / "r")
    judge(path, "--kernel", "6.12.43", "--kernel", "6.12.95")
    first, second = capsys.readouterr().out.split("6.12.95, with")
    assert "takes the host down: CVE-2026-23005 (B1)" in first
    assert "takes the host down on kernels with CVE-2026-23005 (B1)" in second


def test_a_defect_can_be_added(tmp_path, capsys):
    scenario = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
    path = recorded("6.12.95", scenario, tmp_path / "r")
    assert judge(path, "--defect", "B1") == ExitCode.DIVERGED
    assert "  error    vCPU 0 of vm: " in capsys.readouterr().out


def test_json_has_the_findings_and_their_lines(faulty, capsys):
    judge(faulty, "--json")
    [judgement] = json.loads(capsys.readouterr().out)["judgements"]
    [warning] = [one for one in judgement["findings"] if one["level"] == "warning"]
    assert (warning["rule"], warning["why"]) == ("not-restored", "offered")
    lines = faulty.read_text().splitlines()
    assert json.loads(lines[warning["line"] - 1])["type"] == "run"


def test_sarif_points_to_the_recording(faulty, tmp_path):
    sarif = tmp_path / "r.sarif"
    judge(faulty, "--sarif", sarif)
    [run] = json.loads(sarif.read_text())["runs"]
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert {place["artifactLocation"]["uri"] for place in places} == {str(faulty)}
    known = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert {one["ruleId"] for one in run["results"]} <= known


def test_sarif_has_uris_and_names_the_kernel_in_each_message(faulty, tmp_path):
    sarif = tmp_path / "r.sarif"
    path = faulty.rename(tmp_path / "a recording #1")
    judge(path, "--kernel", "6.12.43", "--kernel", "6.12.95", "--sarif", sarif)
    [run] = json.loads(sarif.read_text())["runs"]
    messages = [one["message"]["text"] for one in run["results"]]
    assert {message.partition(",")[0] for message in messages} == {"6.12.43", "6.12.95"}
    places = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    uris = {place["artifactLocation"]["uri"] for place in places}
    assert uris == {str(path).replace(" ", "%20").replace("#", "%23")}


def test_junit_fails_for_a_warning(faulty, tmp_path):
    junit = tmp_path / "r.xml"
    judge(faulty, "--junit", junit)
    [suite] = ET.parse(junit).getroot()  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("tests")) == ("1", "2")


def test_a_truncated_recording_is_judged_up_to_its_end(faulty, capsys):
    content = faulty.read_bytes()
    faulty.write_bytes(content[: content.rindex(b"\n", 0, -1)])
    assert judge(faulty) == ExitCode.DIVERGED
    assert "judged up to there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kernel", "none"], "neither a run's directory nor a release such as 6.12.95"),
        (["--defect", "B999"], "--defect B999: unknown defect"),
        (["--sarif", "/nonexistent/x"], "/nonexistent/x: No such file or directory"),
    ],
)
def test_bad_options_are_refused(words, message, faulty, capsys):
    assert judge(faulty, *words) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_facts_that_are_none_are_refused(faulty, capsys):
    lines = faulty.read_text().splitlines(keepends=True)
    lines[1] = '{"type": "host", "facts": {"cpu": 1}}\n'
    faulty.write_text("".join(lines))
    assert judge(faulty) == ExitCode.USAGE
    assert "the recorded facts of the host are not such" in capsys.readouterr().err


def test_without_facts_a_processor_is_assumed(faulty, capsys):
    lines = faulty.read_text().splitlines(keepends=True)
    faulty.write_text("".join(lines[:1] + lines[2:]))
    judge(faulty)
    assert "a Sapphire Rapids is assumed" in capsys.readouterr().out


def test_a_file_that_is_no_recording(tmp_path, capsys):
    path = tmp_path / "r"
    path.write_text("{}\n")
    assert judge(path) == ExitCode.USAGE
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "lab"], "--target is for --replay"),
        (["--hazardous"], "--hazardous is for --replay"),
        (["--allow-tainted"], "--allow-tainted is for --replay"),
        (["--replay", "--defect", "B1"], "--defect: a replay finds the defects"),
        (["--replay", "--target", "host", "--kernel", "6.12.95"], "excludes --target host"),
    ],
)
def test_options_that_do_not_fit_a_replay_are_refused(words, message, faulty, capsys):
    assert judge(faulty, *words) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_another_processor_can_be_judged_for(tmp_path, capsys):
    path = recorded("7.3.4", "vmm.kselftest.tiles", tmp_path / "r")
    assert judge(path, "--cpu", "no-amx") == ExitCode.DIVERGED
    shown = capsys.readouterr().out
    assert "as recorded, processor no-amx" in shown
    assert "KVM_SET_CPUID2 (line 14) offers XTILE_DATA and fails with EPERM (1)" in shown


def test_an_msr_that_no_guest_of_that_processor_has_is_not_taken(tmp_path, capsys):
    path = recorded("7.3.4", CORRECT, tmp_path / "r")
    judge(path, "--cpu", "no-cet")
    assert "took IA32_U_CET, and this host does not" in capsys.readouterr().out
