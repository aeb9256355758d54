"""Connects to the scheduler of a fleet: by TLS, on this machine's loopback, or in this process."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.config
from distributed import Client, LocalCluster, Security

from kvmprobe.errors import FleetError, UsageError
from kvmprobe.fleet.certificates import CA, CLIENT, certificate, private_key
from kvmprobe.fleet.placement import Resource

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECT_SECONDS = 30
# dask always starts its HTTP servers, on all addresses of the machine.
_NOWHERE = "127.0.0.1:0"
_NO_ROUTES: Any = {f"distributed.{of}.http.routes": [] for of in ("scheduler", "worker")}


@dataclass(frozen=True, slots=True)
class Member:
    """A worker.

    :ivar host: its IP address
    :ivar resources: what it offers, as it was started
    """

    address: str
    name: str
    host: str
    resources: frozenset[str]


@contextlib.contextmanager
def connected(address: str, tls: Path | None) -> Iterator[Client]:
    """Connect to a scheduler, or to one in this process, with one worker, if there is no address.

    :param tls: the directory that `kvmprobe fleet certs` wrote; None for dask's configuration
    :raises UsageError: the address, or the certificates for it, are wrong
    :raises FleetError: there is no answer, or it is not by a member of the fleet
    """
    # What the user has to know of its messages is in our errors.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if not address:
        with (
            dask.config.set(_NO_ROUTES),
            LocalCluster(
                n_workers=1,
                threads_per_worker=1,
                processes=False,  # no port that others could connect to
                dashboard_address=None,
                scheduler_kwargs={"dashboard_address": _NOWHERE},
                worker_dashboard_address=_NOWHERE,
                resources=dict.fromkeys(_resources_here(), 1),
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    security = _security(address, tls)
    try:
        client = Client(address, security=security, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise FleetError(f"--scheduler {address}: {error}") from error
    with client:
        yield client


def members(client: Client) -> list[Member]:
    """Return the workers that the scheduler has now."""
    found: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
    return [
        Member(address, str(of["name"]), of["host"], frozenset(of["resources"]))
        for address, of in found.items()
    ]


def _resources_here() -> list[Resource]:
    found = [Resource.LAB]
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        found.append(Resource.KVM)
        if " amx_tile" in Path("/proc/cpuinfo").read_text("ascii", "replace"):
            found.append(Resource.AMX)
    return found


def _security(address: str, tls: Path | None) -> Security | None:
    """Return what the connection needs; None on loopback without TLS."""
    scheme, _, location = address.rpartition("://")
    if scheme in {"", "tcp"}:
        if not _is_loopback(location.rpartition(":")[0]):
            raise UsageError(
                f"--scheduler {address}: only tls:// addresses leave this machine; "
                "`kvmprobe fleet certs` makes the certificates"
            )
        return None
    if scheme != "tls":
        raise UsageError(f"--scheduler {address}: not tls://HOST:PORT or tcp://127.0.0.1:PORT")
    if tls is None:
        security = Security(require_encryption=True)
        if security.get_connection_args("client")["ssl_context"] is None:
            raise UsageError(
                f"--scheduler {address}: no certificates: give --tls DIR, or dask's configuration "
                "distributed.comm.tls"
            )
        return security
    files = [certificate(tls, CA), certificate(tls, CLIENT), private_key(tls, CLIENT)]
    for file in files:
        if not os.access(file, os.R_OK):
            raise UsageError(f"--tls {tls}: {file.name} cannot be read")
    authority, own, key = map(str, files)
    return Security(
        require_encryption=True, tls_ca_file=authority, tls_client_cert=own, tls_client_key=key
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
