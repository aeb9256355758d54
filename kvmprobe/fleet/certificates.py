"""Certificates for the members of a fleet, and the authority that signs them.

dask checks that a certificate is signed by the fleet's authority, not whose it is, and OpenSSL that
it may be used for its side of the connection: that of the client cannot listen as a scheduler.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kvmprobe.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CA, SCHEDULER, WORKER, CLIENT = "ca", "scheduler", "worker", "client"
MEMBERS = (SCHEDULER, WORKER, CLIENT)
# A machine's clock may be behind.
_EARLIER = timedelta(hours=1)


def certificate(folder: Path, name: str) -> Path:
    """Return the file of a member's certificate."""
    return folder / f"{name}.pem"


def private_key(folder: Path, name: str) -> Path:
    """Return the file of a member's private key."""
    return folder / f"{name}-key.pem"


def make(folder: Path, members: Sequence[str], days: int) -> list[Path]:
    """Write certificates and keys; also an authority, unless the directory has one.

    :param days: how long they are valid
    :return: the files, in the order of writing
    :raises UsageError: one of them exists, or cannot be written, or the authority's cannot be read
    """
    wanted = [f(folder, name) for name in members for f in (certificate, private_key)]
    for file in wanted:
        if file.exists():
            raise UsageError(f"{file}: exists already; remove it, or give another --member")
    written = []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not private_key(folder, CA).exists():
            written += _write(folder, CA, *_authority(days))
        authority, signing = _read_authority(folder)
        for name in members:
            written += _write(folder, name, *_member(name, authority, signing, days))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder}: {error}") from error
    return written


def _authority(days: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        _begun(name, name, key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _member(
    name: str, authority: x509.Certificate, signing: ec.EllipticCurvePrivateKey, days: int
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name != CLIENT:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key())
    made = (
        _begun(_name(name), authority.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(issuer, critical=False)
        .sign(signing, hashes.SHA256())
    )
    return made, key


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"kvmprobe fleet {name}")])


def _read_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    authority = x509.load_pem_x509_certificate(certificate(folder, CA).read_bytes())
    file = private_key(folder, CA)
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{file.name} is not a key that `kvmprobe fleet certs` made")  # noqa: TRY004
    return authority, key


def _write(
    folder: Path, name: str, made: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> list[Path]:
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = [private_key(folder, name), certificate(folder, name)]
    for file, content, mode in zip(
        files, (secret, made.public_bytes(serialization.Encoding.PEM)), (0o600, 0o644), strict=True
    ):
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with open(fd, "wb") as out:  # noqa: PTH123 - a descriptor
            out.write(content)
    return files
