import pytest

from kvmprobe.reports.bug_report.text import escaped, header, paragraph, plain, quoted


@pytest.mark.parametrize("line", ["-- >8 --", "--8<--", "  - >8 -", "---- %< ----", "->%-"])
def test_a_line_that_git_takes_for_scissors_is_none_any_more(line):
    # git-mailinfo(1): dashes with ">8", "8<", ">%" or "%<"
    assert not any(scissors in quoted(line) for scissors in (">8", "8<", ">%", "%<"))


def test_a_control_character_is_escaped_and_a_letter_is_not():
    assert escaped("\x1b[2J \ud800 ä\t|") == r"\x1b[2J \ud800 ä |"


def test_lines_of_a_text_become_one():
    assert plain("a\n b\r\nTo: x") == "a b To: x"


def test_a_header_is_folded_between_its_addresses():
    # RFC 5322, 2.2.3: a line that goes on begins with white space
    folded = header("To", ["A Person <a.person@example.org>"] * 3)
    assert folded == [
        "To: A Person <a.person@example.org>, A Person <a.person@example.org>,",
        " A Person <a.person@example.org>",
    ]


def test_a_header_of_one_value_is_folded_between_words():
    lines = header("Subject", ["word " * 30])
    assert all(len(line) <= 75 for line in lines)
    assert all(line.startswith(" ") for line in lines[1:])


def test_a_word_is_not_broken():
    assert paragraph(f"a {'x' * 90} b") == ["a", "x" * 90, "b"]
