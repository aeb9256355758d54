import pytest

from kvmprobe.results.releases import release_of, series_of


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("6.12.43", (6, 12, 43)),
        ("6.12.43+deb12-cloud-amd64", (6, 12, 43)),
        ("7.0", (7, 0, 0)),
        ("6.19-rc6", (6, 19, 0)),
        ("mainline", ()),
        ("", ()),
    ],
)
def test_a_release_is_its_numbers(text, release):
    assert release_of(text) == release


def test_a_series_is_the_first_two():
    assert series_of("6.1.192") == (6, 1)
    assert series_of("6.1.y") == (6, 1)
