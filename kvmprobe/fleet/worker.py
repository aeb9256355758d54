"""What a worker of a fleet does with an order: runs it in a process, and returns its run directory.

A worker is a plain ``dask worker`` where kvmprobe is installed.  A shard on the worker's own kernel
goes on in one run directory for each campaign, so that after a panic of the machine its next shard
finds in the journal what was running, as ``kvmprobe resume`` does.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

from distributed import get_client, get_worker

from kvmprobe import __version__
from kvmprobe.execution.local_link import ends_with_us
from kvmprobe.fleet.orders import Order, check_name
from kvmprobe.fleet.parcel import Ending, pack
from kvmprobe.fleet.wanted import Wanted
from kvmprobe.results.run_directory import runs_folder

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Worker

TOOL = f"kvmprobe {__version__}"


def started_topic(campaign: str) -> str:
    """Return the topic of dask's events where shards have begun."""
    return f"kvmprobe {campaign} started"


def running_topic(campaign: str) -> str:
    """Return the topic of what shards are about to run."""
    return f"kvmprobe {campaign} running"


def work(text: str) -> bytes:
    """Run a shard; a task of dask.

    :param text: an :class:`Order` as JSON
    :return: see :func:`kvmprobe.fleet.parcel.unpack`
    """
    order = Order.of(text)
    worker = get_worker()
    folder = campaign_folder(order.campaign) / ("host" if order.real else order.shard)
    ending = Ending(str(worker.name), worker.address)
    if order.tool != TOOL:
        refused = f"it has {TOOL}, and the campaign was begun with {order.tool}"
        return pack(Ending(ending.worker, ending.address, refused=refused), folder)
    if order.real and (elsewhere := _begun_elsewhere(order, folder)):
        return pack(Ending(ending.worker, ending.address, elsewhere=elsewhere), folder)
    shard = _Shard(order, folder, worker)
    shard.run()
    return pack(shard.ending(ending), folder)


def forget(campaign: str) -> bool:
    """Remove what a worker's machine keeps of a campaign; a function for ``Client.run``."""
    shutil.rmtree(campaign_folder(campaign), ignore_errors=True)
    return True


def campaign_folder(campaign: str) -> Path:
    """Return where a worker's machine keeps what it runs of a campaign.

    :raises ScenarioError: that is no id of a run
    """
    check_name(campaign)
    return runs_folder().parent / "fleet" / campaign


def _begun_elsewhere(order: Order, folder: Path) -> str:
    """Return the address of another machine that began the shard and did not end it.

    It may have crashed.  If this is the first one to begin it, the others are told.
    """
    client = get_client()
    here = f"{socket.gethostname()}:{folder}"
    topic = started_topic(order.campaign)
    for _, event in client.get_events(topic) or ():
        if event["shard"] == order.shard and event["place"] != here:
            return str(event["address"])
    event = {"shard": order.shard, "place": here, "address": get_worker().address}
    client.log_event(topic, event)
    return ""


class _Shard:
    """A process that runs a shard, and what it says."""

    def __init__(self, order: Order, folder: Path, worker: Worker) -> None:
        self._order = order
        self._folder = folder
        self._worker = worker
        self._wanted = Wanted()
        self._client = get_client()
        self._open: tuple[str, ...] = ()
        self._said: dict[str, Any] | None = None
        self._status = 0

    def run(self) -> None:
        """Run it, until it ends or nobody wants it any more."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        log = self._folder.with_name(f"{self._folder.name}.log")
        with (
            log.open("ab") as errors,
            subprocess.Popen(
                [sys.executable, "-P", "-m", "kvmprobe.cli.shard", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                process_group=0,
                preexec_fn=ends_with_us(),  # noqa: PLW1509
            ) as process,
        ):
            try:
                self._talk(process)
            finally:
                process.terminate()
        self._status = process.returncode

    def ending(self, here: Ending) -> Ending:
        """Return how it ended."""
        if self._said is not None:
            return Ending(here.worker, here.address, refused=str(self._said["refused"]))
        died = f"its process ended with status {self._status}"
        return Ending(here.worker, here.address, died=died, open=self._open)

    def _talk(self, process: subprocess.Popen[bytes]) -> None:
        _write(process.stdin, self._order.text())
        for said in map(json.loads, self._wanted.lines(process.stdout)):
            if "refused" in said:
                self._said = said
                return
            self._open = tuple(said["open"])
            event = {**said, "shard": self._order.shard, "worker": str(self._worker.name)}
            # The scheduler has it before the process goes on, which can crash this machine.
            self._client.log_event(running_topic(self._order.campaign), event)
            _write(process.stdin, "")


def _write(pipe: IO[bytes] | None, text: str) -> None:
    assert pipe is not None  # noqa: S101 - opened as a pipe above
    try:
        pipe.write(f"{text}\n".encode())
    except BrokenPipeError:
        return  # it has died, as the end of its output tells
