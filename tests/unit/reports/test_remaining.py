"""What an unfinished run leaves."""

from kvmprobe.reports.remaining import remaining_lines


def test_nothing_left_is_nothing_told():
    assert remaining_lines([], "kvmprobe resume d") == []


def test_what_is_left_is_counted_by_family_and_listed_with_the_way_to_go_on():
    assert remaining_lines(["fpu.a", "fpu.b", "vmm.c"], "kvmprobe resume d") == [
        "kvmprobe: 3 scenarios did not complete: fpu 2, vmm 1",
        "  fpu.a",
        "  fpu.b",
        "  vmm.c",
        "kvmprobe: to continue: kvmprobe resume d",
    ]


def test_a_long_list_is_cut():
    lines = remaining_lines([f"fpu.{n}" for n in range(30)])
    assert (len(lines), lines[-1]) == (12, "  ... and 20 more")
