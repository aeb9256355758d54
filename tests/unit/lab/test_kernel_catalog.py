import pytest

from kvmprobe.lab import kernel_catalog
from kvmprobe.lab.packages import Package

BIG, META = 30_000_000, 1500


def package(name, version, suite="trixie", size=BIG, depends=""):
    digest = f"{name}{version}"
    return Package(name, version, size, digest, f"pool/{name}.deb", depends, suite, "http://m/")


def split(release, version):
    """Return the packages of a kernel as Debian makes them from 6.19 on."""
    return (
        package(f"linux-image-{release}", version, size=META),
        package(f"linux-binary-{release}", version),
        package(f"linux-modules-{release}", version),
    )


PACKAGES = (
    package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"),
    package("linux-image-6.1.0-55-cloud-amd64", "6.1.192-1"),
    package("linux-image-6.1.0-56-cloud-amd64-unsigned", "6.1.192-2"),
    package("linux-image-6.1.0-56-cloud-amd64-dbg", "6.1.192-2", size=10 * BIG),
    package("linux-image-6.1.0-56-amd64", "6.1.192-2"),
    package("linux-image-cloud-amd64", "6.1.192-2", size=META),
    package("linux-image-6.12-cloud-amd64", "6.12.95-1", size=META),
    package("linux-image-6.12.9+deb12-cloud-amd64", "6.12.9-1~bpo12+1"),
    package("linux-image-6.12.95+deb12-cloud-amd64", "6.12.95-1~bpo12+1"),
    package("linux-image-6.12.95+deb13-cloud-amd64", "6.12.95-1"),
    *split("7.3.4+deb13-cloud-amd64", "7.3.4-1~bpo13+1"),
    package("linux-binary-8.0.1+deb13-cloud-amd64", "8.0.1-1~bpo13+1"),
)


def releases(spec, packages=PACKAGES):
    chosen = kernel_catalog.select(kernel_catalog.candidates(packages), spec)
    return [candidate.release for candidate in chosen]


def test_newest_with_modules_comes_first_without_a_spec():
    assert releases(None)[0] == "7.3.4+deb13-cloud-amd64"


def test_beginning_of_a_version_means_its_newest():
    assert releases("6.12")[0] == "6.12.95+deb13-cloud-amd64"


def test_beginning_ends_at_a_dot():
    assert releases("6.12.9") == ["6.12.9+deb12-cloud-amd64"]


def test_package_version_counts_not_the_name():
    assert releases("6.1.192")[:2] == ["6.1.0-56-cloud-amd64"] * 1 + ["6.1.0-55-cloud-amd64"]


def test_signed_package_is_preferred():
    chosen = kernel_catalog.select(kernel_catalog.candidates(PACKAGES), "6.1")
    assert [candidate.is_signed for candidate in chosen] == [True, True, False]


def test_a_release_matches_in_every_flavour():
    assert releases("6.1.0-56-amd64") == ["6.1.0-56-amd64"]


@pytest.mark.parametrize("spec", ["6.12.95+deb12", "6.12.95-1~bpo12+1"])
def test_beginning_of_a_release_and_package_version_are_understood(spec):
    assert releases(spec) == ["6.12.95+deb12-cloud-amd64"]


def test_binary_package_needs_its_modules_package():
    chosen = kernel_catalog.select(kernel_catalog.candidates(PACKAGES), "7.3.4")
    names = [part[0].name for part in chosen[0].parts]
    assert names == [
        "linux-binary-7.3.4+deb13-cloud-amd64",
        "linux-modules-7.3.4+deb13-cloud-amd64",
    ]


def test_kernel_listed_without_modules_is_not_offered():
    assert releases("8.0.1") == []
    assert kernel_catalog.without_modules(PACKAGES) == {"8.0.1"}


def test_ubuntu_image_takes_the_modules_package_it_depends_on():
    release = "6.8.0-31-generic"
    packages = (
        package(f"linux-image-{release}", "6.8.0-31.31", depends=f"kmod, linux-modules-{release}"),
        package(f"linux-modules-{release}", "6.8.0-31.31"),
        package(f"linux-modules-extra-{release}", "6.8.0-31.31"),
    )
    (candidate,) = kernel_catalog.select(kernel_catalog.candidates(packages), "6.8")
    assert [part[0].name for part in candidate.parts] == [packages[0].name, packages[1].name]


def test_same_file_in_two_archives_is_one_candidate_with_two_addresses():
    twice = [package("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2", suite) for suite in "ab"]
    (candidate,) = kernel_catalog.candidates(twice)
    assert [entry.suite for entry in candidate.parts[0]] == ["a", "b"]


def test_nearest_versions_are_of_the_same_series_where_there_is_one():
    assert kernel_catalog.nearest(["6.1.9", "6.12.1", "7.0.1"], "6.12.7") == ("6.12.1",)
    assert kernel_catalog.nearest(["6.1.9", "7.0.1"], "6.12.7") == ("6.1.9", "7.0.1")


def test_nearest_versions_lie_around_the_wanted_one():
    labels = [f"6.12.{patch}" for patch in range(40, 60)]
    expected = ("6.12.48", "6.12.49", "6.12.50", "6.12.51")
    assert kernel_catalog.nearest(labels, "6.12.51.5")[:4] == expected


@pytest.mark.parametrize("spec", ["6", "6.12", "6.12.95", "7.3.4+deb13-cloud-amd64", "6.1.0-56"])
def test_version_is_recognised(spec):
    assert kernel_catalog.looks_like_version(spec)


@pytest.mark.parametrize("spec", ["", "newest", "v6.12", "6.12/", "6..1", "-1", "6.12 43"])
def test_other_text_is_no_version(spec):
    assert not kernel_catalog.looks_like_version(spec)
