"""Which scenarios --select and --exclude leave."""

import pytest

from kvmprobe.cli.select import all_ids, wanted
from kvmprobe.cli.traits import catalogue
from kvmprobe.errors import UsageError
from kvmprobe.scenarios.ops import registry
from kvmprobe.scenarios.scenario import Need

SCENARIOS = [traits.scenario for traits in catalogue()]


def chosen(*select, exclude=()):
    return list(filter(wanted(select, exclude), all_ids()))


def having(*names):
    return [s.id for s in SCENARIOS if {op.name for _, op in s.ops()} & set(names)]


def test_without_expressions_everything_is_wanted():
    assert chosen() == all_ids()


def test_several_selections_add_up():
    assert chosen("fpu.*", "xcrs.*") == chosen("fpu.*, xcrs.*")


def test_what_is_excluded_is_taken_away_from_all_of_it():
    both = chosen("fpu.*", "xcrs.*", exclude=["fpu.*"])
    assert both == [s.id for s in SCENARIOS if s.family == "xcrs"]


@pytest.mark.parametrize("glob", ["set-fpu", "SET_FPU", "Set_Fpu"])
def test_an_op_is_selected_by_its_name(glob):
    # The op of that name, and the other one that makes the same call.
    assert chosen(f"op:{glob}") == having("set-fpu", "set-fpu-at-page-end")


def test_an_op_is_selected_by_its_kernel_call():
    calls = [name for name, op in registry().items() if op.kernel_call == "KVM_SET_MSRS"]
    assert chosen("op:KVM_SET_MSRS") == having(*calls)


def test_guest_code_is_a_kernel_call_too():
    calls = [name for name, op in registry().items() if op.kernel_call.startswith("KVM_RUN")]
    assert chosen("op:KVM_RUN") == having(*calls)


def test_a_family_is_a_tag():
    assert chosen("tag:kick") == [s.id for s in SCENARIOS if s.id.startswith("kick.")]


@pytest.mark.parametrize(
    ("tag", "need"),
    [("amx", Need.AMX), ("guest-code", Need.GUEST_CODE), ("privilege", Need.PRIVILEGE)],
)
def test_a_need_is_a_tag(tag, need):
    assert chosen(f"tag:{tag}") == [s.id for s in SCENARIOS if need in s.needs]


def test_a_task_is_a_tag():
    assert "permission.get.thread" in chosen("tag:thread")
    assert "permission.get.main" not in chosen("tag:thread")


# b45f72177594: SET_XSAVE(XTILE_DATA) after XFD was armed is fatal with B1, the reverse with O1.
ARMED_FIRST = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"
ARMED_LAST = "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles"


@pytest.mark.parametrize(
    ("expression", "left"),
    [
        ("hazard:any", [ARMED_FIRST, ARMED_LAST]),
        ("hazard:B1", [ARMED_FIRST]),
        ("hazard:O1", [ARMED_LAST]),
        ("hazard:XFD_WRITE_*", [ARMED_LAST]),
        ("hazard:CVE-2026-23005", [ARMED_FIRST]),
        ("hazard:restore_fpregs_*", [ARMED_FIRST, ARMED_LAST]),
    ],
)
def test_hazards_are_selected_by_the_defect_that_makes_them(expression, left):
    assert chosen(f"({ARMED_FIRST}, {ARMED_LAST}) & {expression}") == left


def test_no_hazard_is_without_tiles():
    # INV-29: the host's XRSTOR faults on what XFD traps, and only XTILE_DATA can be trapped.
    assert chosen("restore.* & hazard:any & !*.bv-tiles*", "fpu.get.*") == chosen("fpu.get.*")


def test_a_defect_is_selected_where_it_shows():
    # known-bugs B16: an id beyond 32 bits
    assert chosen("system.vcpu.* & defect:B16") == ["system.vcpu.id-long"]


@pytest.mark.parametrize(
    ("expression", "says", "lists"),
    [
        ("nothing.*", "'nothing.*' matches no scenario", "`kvmprobe list` lists them"),
        ("op:SET_XSAVES", "'op:SET_XSAVES' matches no op", "set-xsave"),
        ("tag:amy", "'tag:amy' matches no tag", "guest-code"),
        ("hazard:Z1", "'hazard:Z1' matches no known defect", "any, B1"),
        ("defect:Z1", "'defect:Z1' matches no known defect", "any, B1"),
    ],
)
def test_what_matches_nothing_is_refused_with_what_there_is(expression, says, lists):
    with pytest.raises(UsageError) as raised:
        wanted(["restore.*", f"fpu.* & {expression}"])
    said, _, mark, hint = str(raised.value).split("\n  ")
    assert (says in said, mark.index("^"), lists in hint) == (True, 8, True)


def test_an_error_names_the_option():
    with pytest.raises(UsageError, match=r"^--exclude: "):
        wanted([], ["a b"])


def test_an_empty_selection_is_refused():
    with pytest.raises(UsageError, match=r"--select 'fpu\.\*' --exclude 'tag:fpu'.*no scenario"):
        wanted(["fpu.*"], ["tag:fpu"])
