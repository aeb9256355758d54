from dataclasses import replace
from pathlib import Path

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab import kernel_store
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.kernel_offers import offers
from kvmprobe.lab.kernel_sets import specs_of
from kvmprobe.lab.kernel_store import Entry
from kvmprobe.lab.packages import Package

BIG = 30_000_000


def package(name, version, suite="trixie", size=BIG):
    return Package(name, version, size, f"{name}{version}", "pool/k.deb", "", suite, "http://m/")


IMAGE = package("linux-image-6.12.95+deb13-cloud-amd64", "6.12.95-1")
PACKAGES = (
    IMAGE,
    replace(IMAGE, suite="trixie-security"),
    package("linux-image-6.12.95+deb13-cloud-amd64-unsigned", "6.12.95-1"),
    package("linux-image-6.12.95+deb13-cloud-amd64-dbg", "6.12.95-1", size=10 * BIG),
    package("linux-image-6.12.95+deb13-amd64", "6.12.95-1"),
    package("linux-binary-7.3.4+deb13-cloud-amd64", "7.3.4-1", size=13_000_000),
    package("linux-modules-7.3.4+deb13-cloud-amd64", "7.3.4-1", size=22_000_000),
    package("linux-binary-7.1.3+deb13-cloud-amd64", "7.1.3-1"),
)
WHOLE = Entry(Path("/cache/kernels/a"), "6.12.95", "6.12.95+deb13-cloud-amd64", "p", 1, 0.0, ())


def listed(packages=PACKAGES, entries=None):
    return {offer.label: offer for offer in offers(packages, entries or {})}


def test_each_version_of_the_preferred_flavour_is_listed_once():
    assert [offer.label for offer in offers(PACKAGES, {})] == ["7.3.4", "7.1.3", "6.12.95"]


def test_the_sizes_of_its_packages_add_up():
    assert listed()["7.3.4"].nbytes == 13_000_000 + 22_000_000


def test_all_suites_that_have_it_are_named():
    assert listed()["6.12.95"].suites == ("trixie", "trixie-security")


def test_a_kernel_whose_modules_package_is_not_listed_has_no_kvm():
    assert {label: offer.has_modules for label, offer in listed().items()} == {
        "7.3.4": True,
        "7.1.3": False,
        "6.12.95": True,
    }


def test_the_debug_package_is_looked_for_by_release_and_version():
    assert [label for label, offer in listed().items() if offer.has_debug] == ["6.12.95"]


def test_the_entry_that_was_made_of_its_packages_is_its_own():
    entries = {kernel_store.key_of((IMAGE.sha256,)): WHOLE}
    assert listed(entries=entries)["6.12.95"].kept is WHOLE


def test_an_entry_that_no_archive_offers_is_listed_without_suites():
    alone = listed((), {"key": WHOLE})["6.12.95"]
    assert (alone.suites, alone.version, alone.kept) == ((), "", WHOLE)


@pytest.fixture
def archives(cache, repository, kernel_deb):
    """Archives with two kernels of one series and one of another."""
    for number in ("6.1.5", "6.1.10", "6.12.3"):
        release = f"{number}-cloud-amd64"
        deb = kernel_deb(release, f"{number}.deb", f"(a@b) #1 SMP Debian {number}-1", 1_100_000)
        repository.add(deb, f"linux-image-{release}", f"{number}-1")
    return Archives(cache, (repository.source(),))


@pytest.mark.parametrize(
    ("words", "specs"),
    [
        (["6.12,installed", "6.12"], ("6.12", "installed")),
        (["all"], ("6.1.5", "6.1.10", "6.12.3")),
        (["newest-of-each"], ("6.1.10", "6.12.3")),
        (["6.1.5,newest-of-each"], ("6.1.5", "6.1.10", "6.12.3")),
    ],
)
def test_sets_of_kernels_are_in_order_of_version(words, specs, archives, listener):
    assert specs_of(words, archives, listener) == specs


def test_no_kernel_at_all_is_refused(archives, listener):
    with pytest.raises(UsageError, match="no kernel is named"):
        specs_of([","], archives, listener)
