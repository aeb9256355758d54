from kvmprobe.model.msr import SET_XFD
from kvmprobe.model.uabi import GET_XSAVE2
from kvmprobe.results.citation import files_in, rule_text, without_numbers

RULE = f"{rule_text(SET_XFD)}; read by {rule_text(GET_XSAVE2)}"


def test_a_rule_is_its_statement_its_invariants_and_its_first_source():
    assert rule_text(SET_XFD) == (
        "XFD[i]=1 clears XSTATE_BV[i] (INV-25, INV-29): "
        "arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd"
    )


def test_numbers_of_our_own_are_left_out():
    assert without_numbers(rule_text(SET_XFD)) == (
        "XFD[i]=1 clears XSTATE_BV[i]: arch/x86/kernel/fpu/core.c: fpu_update_guest_xfd"
    )
    assert "INV" not in without_numbers(RULE)


def test_files_are_in_the_order_of_the_rule():
    assert files_in(RULE) == ("arch/x86/kernel/fpu/core.c", "arch/x86/kernel/fpu/xstate.c")


def test_a_text_without_a_file_names_none():
    assert files_in("memory slots do not overlap") == ()
