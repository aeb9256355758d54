"""What a worker of a fleet does with a search: runs the command, and returns its run directory."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from distributed import get_client, get_worker

from kvmprobe.errors import ExitCode
from kvmprobe.execution.local_link import ends_with_us
from kvmprobe.fleet.orders import Order
from kvmprobe.fleet.parcel import Ending, pack
from kvmprobe.fleet.wanted import Wanted
from kvmprobe.fleet.worker import TOOL, campaign_folder, running_topic

if TYPE_CHECKING:
    from pathlib import Path

# Statuses of a search that has run, perhaps not as long as it should.
_RAN = {ExitCode.OK, ExitCode.DIVERGED, ExitCode.INTERRUPTED}
# Lines of standard error that say why it did not.
_LAST_LINES = 5
_processes: dict[str, list[subprocess.Popen[bytes]]] = {}


def hunt(text: str) -> bytes:
    """Run a search; a task of dask.

    :param text: an :class:`Order` as JSON, without scenarios
    :return: see :func:`kvmprobe.fleet.parcel.unpack`
    """
    order = Order.of(text)
    worker = get_worker()
    ending = Ending(str(worker.name), worker.address)
    folder = campaign_folder(order.campaign) / order.shard
    if order.tool != TOOL:
        refused = f"it has {TOOL}, and the campaign was begun with {order.tool}"
        return pack(replace(ending, refused=refused), folder)
    # What another attempt left there.
    shutil.rmtree(folder, ignore_errors=True)
    return pack(_hunted(order, folder, ending), folder)


def interrupt(campaign: str) -> None:
    """End a campaign's searches as ^C does; a function for ``Client.run``."""
    for process in _processes.get(campaign, ()):
        process.send_signal(signal.SIGINT)


def _hunted(order: Order, folder: Path, ending: Ending) -> Ending:
    folder.parent.mkdir(parents=True, exist_ok=True)
    client, wanted = get_client(), Wanted()
    said: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "kvmprobe.cli.main", *order.words, f"--out={folder}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
        process_group=0,
        preexec_fn=ends_with_us(),  # noqa: PLW1509
    ) as process:
        running = _processes.setdefault(order.campaign, [])
        running.append(process)
        try:
            for line in wanted.lines(process.stderr):
                said.append(line.decode("utf-8", "replace").strip())
                event = {"shard": order.shard, "worker": ending.worker, "said": said[-1]}
                client.log_event(running_topic(order.campaign), event)
            if wanted.still():
                process.wait()
        finally:
            process.terminate()
            running.remove(process)
    if process.returncode in _RAN:
        return ending
    if process.returncode < 0:
        return replace(ending, died=f"its process was ended by signal {-process.returncode}")
    return replace(ending, refused="; ".join(said) or f"exit status {process.returncode}")
