import subprocess

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.fleet.certificates import CA, CLIENT, MEMBERS, SCHEDULER, WORKER, certificate, make
from kvmprobe.fleet.certificates import private_key as key_of


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "tls", MEMBERS, 1)
    return tmp_path / "tls"


def verified(folder, name, purpose):
    """Return what OpenSSL, which is not what wrote them, says of a certificate for a purpose."""
    ended = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-purpose", purpose),
            *("-CAfile", certificate(folder, CA), certificate(folder, name)),
        ],
        capture_output=True,
        check=False,
    )
    return ended.returncode == 0


@pytest.mark.parametrize("name", MEMBERS)
def test_each_member_may_connect(folder, name):
    assert verified(folder, name, "sslclient")


@pytest.mark.parametrize(("name", "may"), [(SCHEDULER, True), (WORKER, True), (CLIENT, False)])
def test_a_client_may_not_listen(folder, name, may):
    assert verified(folder, name, "sslserver") is may


def test_those_of_another_authority_are_not_accepted(folder, tmp_path):
    other = tmp_path / "other"
    make(other, MEMBERS, 1)
    certificate(folder, WORKER).write_bytes(certificate(other, WORKER).read_bytes())
    assert not verified(folder, WORKER, "sslclient")


def test_a_later_member_has_the_same_authority(folder):
    make(folder, ["lab-7"], 1)
    assert verified(folder, "lab-7", "sslclient")


def test_nothing_is_overwritten(folder):
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(UsageError, match=r"worker\.pem: exists already"):
        make(folder, [WORKER], 1)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_keys_are_for_their_owner_alone(folder):
    modes = {key_of(folder, name).stat().st_mode & 0o777 for name in (CA, *MEMBERS)}
    assert modes == {0o600}
