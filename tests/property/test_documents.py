"""Documents with anything anywhere: a scenario, or an error that tells where."""

import json

from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.errors import ScenarioError
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.document import from_document, to_document

SOURCES = [
    json.loads(to_document(scenario))
    for scenario in catalog.scenarios(sapphire_rapids())
    if scenario.family in {"permission", "msrs", "xsave", "guest", "cpuid", "literal"}
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=8) | st.sampled_from(["op", "by", "on"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def places(value):
    """Yield (container, key) of everything in a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, dict | list):
            yield from places(item)


@given(st.sampled_from(SOURCES), st.data())
def test_a_changed_document_is_a_scenario_or_an_error_with_a_place(source, data):
    changed = json.loads(json.dumps(source))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(changed))))
        container[key] = data.draw(VALUES)
    try:
        scenario = from_document(json.dumps(changed).encode())
    except ScenarioError as error:
        message = str(error)
    else:
        assert from_document(to_document(scenario).encode()) == scenario
        return
    assert message.startswith(("$", "line ", "not JSON: ")) or "is not JSON" in message


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content):
    try:
        from_document(content)
    except ScenarioError:
        return
    raise AssertionError(content)
