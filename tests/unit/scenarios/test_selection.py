"""The grammar of expressions that select scenarios."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.scenarios.selection import Kind, Not, Or, Term, holds, parse, terms


def selected(text, *true):
    """Whether the expression holds where exactly these globs match."""
    return holds(parse(text), lambda term: term.glob in true)


def test_a_bare_word_is_a_glob_over_ids():
    assert parse("restore.*") == Term(Kind.ID, "restore.*", "restore.*", 0)


@pytest.mark.parametrize("kind", Kind)
def test_a_word_before_a_colon_says_what_the_glob_is_compared_with(kind):
    assert parse(f"{kind.value}:a*") == Term(kind, "a*", f"{kind.value}:a*", 0)


@pytest.mark.parametrize(
    ("text", "right"),
    [("a | b", ","), ("a || b", ","), ("a or b", ","), ("not a", "!")],
)
def test_an_operator_of_other_languages_is_an_error_that_names_ours(text, right):
    with pytest.raises(UsageError, match=f"write '{right}'"):
        parse(text)


def test_and_binds_more_than_or():
    # a or (b and c): true of a alone, which (a or b) and c is not
    assert selected("a, b & c", "a")


def test_not_binds_most():
    # (not a) and b, not: not (a and b), which is true of neither
    assert not selected("!a & b")


def test_parentheses_bind_first():
    assert not selected("(a, b) & c", "a")


def test_a_double_negation_is_none():
    assert selected("!!a", "a")


def test_a_set_of_characters_may_begin_with_an_exclamation_mark():
    assert [term.glob for term in terms(parse("[!r]*,a[]&,]b"))] == ["[!r]*", "a[]&,]b"]


def test_a_term_is_asked_for_only_where_it_decides():
    asked = []
    holds(parse("a & b"), lambda term: asked.append(term.glob))
    assert asked == ["a"]


def test_terms_come_from_left_to_right():
    assert [term.place for term in terms(parse("a, !(b & c)"))] == [0, 5, 9]


def test_nesting_is_kept():
    a, b = Term(Kind.ID, "a", "a", 0), Term(Kind.ID, "b", "b", 4)
    assert parse("a, !b") == Or((a, Not(b)))


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("", "expected a term, found the end", 0),
        ("a b", "expected an operator or the end, found 'b'", 2),
        ("a &", "expected a term, found the end", 3),
        ("a & , b", "expected a term, found ','", 4),
        ("(a", "expected ')', found the end", 2),
        ("a)", "expected an operator or the end, found ')'", 1),
        ("and", "expected a term, found 'and'", 0),
        ("a, opp:b", "unknown kind of term 'opp'", 3),
        ("tag:", "'tag:': expected a glob after the colon", 4),
    ],
)
def test_what_cannot_be_read_is_shown_at_its_place(text, problem, place):
    with pytest.raises(UsageError) as raised:
        parse(text)
    said, shown, mark, *_ = str(raised.value).split("\n  ")
    assert (said, shown, mark.index("^")) == (problem, text, place)


def test_a_bracket_that_is_never_closed_is_itself():
    # as fnmatch has it
    assert parse("a[") == Term(Kind.ID, "a[", "a[", 0)
