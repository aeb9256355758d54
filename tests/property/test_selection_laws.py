"""Laws of the expressions that select scenarios."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.errors import UsageError
from kvmprobe.scenarios.selection import And, Kind, Not, Or, Term, holds, parse, terms

GLOBS = st.text("abr.*?-_9", min_size=1, max_size=8)
LEAVES = st.builds(lambda kind, glob: Term(kind, glob, "", 0), st.sampled_from(Kind), GLOBS)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.builds(Not, parts),
        st.builds(And, st.lists(parts, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(parts, min_size=2, max_size=3).map(tuple)),
    ),
)
SPELLINGS = st.sampled_from([("&", ",", "!"), (" & ", " , ", "! ")])


def written(expression, spelling):
    """The expression as text, with each part in parentheses."""
    both, either, negated = spelling
    match expression:
        case Term(kind, glob):
            return f"{kind.value}:{glob}"
        case Not(part):
            return f"{negated}({written(part, spelling)})"
        case And(parts):
            return both.join(f"({written(part, spelling)})" for part in parts)
        case Or(parts):
            return either.join(f"({written(part, spelling)})" for part in parts)


def truth(expression, true):
    """What logic says."""
    match expression:
        case Term(kind, glob):
            return (kind, glob) in true
        case Not(part):
            return not truth(part, true)
        case And(parts):
            return min(truth(part, true) for part in parts)
        case Or(parts):
            return max(truth(part, true) for part in parts)


@given(EXPRESSIONS, SPELLINGS, st.data())
def test_an_expression_means_what_logic_says_however_it_is_spelled(expression, spelling, data):
    leaves = sorted({(t.kind, t.glob) for t in terms(expression)}, key=str)
    true = data.draw(st.sets(st.sampled_from(leaves)))
    read = parse(written(expression, spelling))
    assert holds(read, lambda term: (term.kind, term.glob) in true) == truth(expression, true)


@given(EXPRESSIONS, SPELLINGS)
def test_terms_stand_where_they_say(expression, spelling):
    text = written(expression, spelling)
    assert all(text[t.place :].startswith(t.text) for t in terms(parse(text)))


@given(st.text(max_size=30))
def test_any_text_is_an_expression_or_a_usage_error(text):
    with contextlib.suppress(UsageError):
        assert list(terms(parse(text)))


@given(st.text("ab&,|!() :", max_size=12))
def test_any_signs_are_an_expression_or_a_usage_error(text):
    with contextlib.suppress(UsageError):
        assert list(terms(parse(text)))
