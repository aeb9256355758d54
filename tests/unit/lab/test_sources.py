import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab.sources import (
    DEBIAN_SUITES,
    SECURITY_SUITES,
    Source,
    known_keyrings,
    parse_archive,
    sources_from_uris,
)


def uris(*archives, component="main"):
    """Return what ``apt-get update --print-uris`` prints of (URI, suite) pairs."""
    lines = []
    for uri, suite in archives:
        name = uri.partition("//")[2].replace("/", "_") + f"dists_{suite}_"
        lines.append(f"'{uri}dists/{suite}/InRelease' {name}InRelease 0 ")
        packages = f"{component}/binary-amd64/Packages"
        lines.append(f"'{uri}dists/{suite}/{packages}.xz' {name}{packages.replace('/', '_')} 0 ")
    return "\n".join(lines) + "\n"


@pytest.fixture
def apt(tmp_path):
    """Return the machine's apt: its lists, its configuration, and what is found with them."""

    class Apt:
        lists, etc = tmp_path / "lists", tmp_path / "etc"

        def found(self, text):
            return sources_from_uris(text, self.lists, self.etc)

        def say_origin(self, name, origin):
            (self.lists / name).write_text(f"-----BEGIN\n\nOrigin: {origin}\nSuite: x\n")

    (tmp_path / "etc/sources.list.d").mkdir(parents=True)
    (tmp_path / "lists").mkdir()
    return Apt()


MAIN = ("http://m/debian/", "bookworm")


def test_debian_mirror_is_asked_for_every_suite(apt):
    assert set(apt.found(uris(MAIN))[0].suites) == set(DEBIAN_SUITES)


def test_security_mirror_is_asked_for_security_suites(apt):
    main, security = apt.found(uris(MAIN, ("http://m/debian-security/", "bookworm-security")))
    assert set(security.suites) == set(SECURITY_SUITES)
    assert not set(main.suites) & set(SECURITY_SUITES)


def test_the_machines_own_suite_is_kept(apt):
    assert "bullseye" in apt.found(uris(("http://m/debian/", "bullseye"), MAIN))[0].suites


def test_ubuntu_is_asked_for_the_configured_suites_only(apt):
    assert apt.found(uris(("http://u/", "noble"), ("http://u/", "noble-x")))[0].suites == (
        "noble",
        "noble-x",
    )


def test_other_components_are_left_out(apt):
    assert apt.found(uris(MAIN, component="stable")) == ()


def test_discs_are_left_out(apt):
    assert apt.found(uris(("cdrom://Debian/", "bookworm"))) == ()


@pytest.mark.parametrize(("origin", "number"), [("Debian", 1), ("Ubuntu", 1), ("Tailscale", 0)])
def test_third_party_is_known_by_its_signed_release(apt, origin, number):
    apt.say_origin("m_debian_dists_bookworm_InRelease", origin)
    assert len(apt.found(uris(MAIN))) == number


@pytest.mark.parametrize(("keyring", "number"), [("debian-x.gpg", 1), ("t-archive-keyring.gpg", 0)])
def test_third_party_is_known_by_its_keyring_before_lists_are_downloaded(apt, keyring, number):
    line = f"deb [signed-by=/usr/share/keyrings/{keyring}] http://m/debian bookworm main\n"
    (apt.etc / "sources.list").write_text(line)
    assert len(apt.found(uris(MAIN))) == number


def test_keyring_of_the_right_stanza_is_taken_over(apt):
    (apt.etc / "sources.list.d/debian.sources").write_text(
        "URIs: http://m/debian-security\nSigned-By: /debian-a.gpg\n\n"
        "Types: deb\n# a remark\nURIs: http://m/debian\nSigned-By: /debian-b.gpg\n"
    )
    assert apt.found(uris(MAIN))[0].signed_by == "/debian-b.gpg"


def test_key_inside_a_stanza_is_taken_over(apt):
    stanza = "URIs: http://m/debian/\nSigned-By:\n -----BEGIN\n .\n abc\nSuites: x\n"
    (apt.etc / "sources.list.d/debian.sources").write_text(stanza)
    assert apt.found(uris(MAIN))[0].signed_by == "\n -----BEGIN\n .\n abc"


def test_a_file_of_sources_that_is_no_utf_8_is_read_as_far_as_it_is(apt):
    line = b"# \xff\ndeb [signed-by=/debian-b.gpg] http://m/debian bookworm main\n"
    (apt.etc / "sources.list").write_bytes(line)
    assert apt.found(uris(MAIN))[0].signed_by == "/debian-b.gpg"


def test_a_name_of_a_release_file_that_is_too_long_is_that_of_none(apt):
    assert apt.found(uris((f"http://{'m' * 300}/debian/", "bookworm")))


def test_an_empty_signed_by_is_a_missing_one(apt):
    stanza = "URIs: http://m/debian/\nSigned-By:\nSuites: x\n"
    (apt.etc / "sources.list.d/debian.sources").write_text(stanza)
    assert apt.found(uris(MAIN))[0].signed_by == known_keyrings()


def test_missing_signed_by_means_the_distributions_keyrings(apt):
    assert apt.found(uris(MAIN))[0].signed_by == known_keyrings()


def test_mirror_list_is_replaced_by_its_first_address(apt, tmp_path):
    listing = tmp_path / "mirrors.list"
    listing.write_text("# ours\nhttps://first/debian\nhttps://second/debian\n")
    (source,) = apt.found(uris((f"mirror+file:{listing}/", "sid")))
    assert source.uri == "https://first/debian/"


def test_archive_option_names_address_and_suites():
    source = parse_archive("http://m/debian trixie,sid")
    assert source == Source("http://m/debian/", ("trixie", "sid"), known_keyrings())


def test_archive_option_may_name_a_keyring():
    assert parse_archive("[signed-by=/k.gpg] file:/srv/d sid").signed_by == "/k.gpg"


@pytest.mark.parametrize(
    "text", ["", "http://m", "m sid", "http://m ,", "http://m a b", "[x=y] http://m sid"]
)
def test_unreadable_archive_option_is_a_usage_error(text):
    with pytest.raises(UsageError, match="SUITE"):
        parse_archive(text)


def test_stanza_asks_for_package_indices_only():
    lines = Source("http://m/", ("a", "b"), "/k.gpg").as_deb822().splitlines()
    assert {"Suites: a b", "Targets: Packages", "Signed-By: /k.gpg", "Architectures: amd64"} <= set(
        lines
    )
