"""Attached files with anything anywhere: a scenario, or an error that says where."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from kvmprobe.errors import ScenarioError
from kvmprobe.scenarios.attached.reading import read_attached
from kvmprobe.scenarios.attached.replaying import replaying
from kvmprobe.scenarios.document import from_document, to_document
from tests.property.test_documents import VALUES, places
from tests.support.attached import EXAMPLES

TEMPLATES = [json.loads(EXAMPLES[name]) for name in EXAMPLES if name.endswith(".json")]
TEXT = EXAMPLES["dump-cpuid.txt"]
PLACE = re.compile(r"\$|line \d|byte \d|size: |not JSON: |nested|NaN|-?Infinity")


def replayed_or_refused(content):
    """The file makes a scenario that survives as a document, or is refused with a place."""
    try:
        scenario = replaying("attached.x", {"file": read_attached(content)})
    except ScenarioError as error:
        message = str(error)
        assert PLACE.match(message), message
        return
    assert from_document(to_document(scenario).encode()) == scenario


@given(st.binary(max_size=400))
def test_any_bytes(content):
    replayed_or_refused(content)


@given(st.text(max_size=200))
def test_any_text(text):
    replayed_or_refused(text.encode("utf-8", "surrogatepass"))


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_a_truncated_example(name, data):
    content = EXAMPLES[name]
    replayed_or_refused(content[: data.draw(st.integers(0, len(content)))])


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_an_example_with_other_bytes(name, data):
    content = bytearray(EXAMPLES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    replayed_or_refused(bytes(content))


@given(st.sampled_from(TEMPLATES), st.data())
def test_a_template_with_other_values(source, data):
    changed = json.loads(json.dumps(source))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(changed))))
        container[key] = data.draw(VALUES)
    replayed_or_refused(json.dumps(changed).encode())


@given(st.lists(st.sampled_from(TEXT.splitlines()), max_size=12))
def test_lines_of_a_dump_in_any_order(lines):
    replayed_or_refused(b"\n".join(lines))
