"""Coverage in a file: what one program reached on the emulated host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kvmprobe.coverage.functions import KernelFunctions
from kvmprobe.coverage.measured import Measured
from kvmprobe.coverage.reached import pack, unpack
from kvmprobe.errors import ScenarioError
from kvmprobe.results.codec import from_json, to_json
from kvmprobe.results.record import Target

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "kvmprobe-coverage/1"


def to_text(target: Target, functions: KernelFunctions, program: str, blocks: bytes) -> str:
    """Return the file's content.

    :param program: its command line
    :param blocks: what it reached, as the emulator reports it
    """
    content = {
        "schema": SCHEMA,
        "target": to_json(Target, target),
        "functions": functions.to_json(),
        "reached": {program: pack(blocks)},
    }
    return json.dumps(content) + "\n"


def read_file(path: Path) -> dict[Target, Measured]:
    """Return what :func:`to_text` wrote.

    :raises ScenarioError: it is no such file, or one of another version
    """
    try:
        content: Any = json.loads(path.read_bytes())
        if content["schema"] != SCHEMA:
            raise ScenarioError(f"{path}: schema {content['schema']!r:.80}; this reads {SCHEMA}")
        target = from_json(Target, content["target"], "$.target")
        reached = {name: unpack(text) for name, text in content["reached"].items()}
        return {target: Measured.of(KernelFunctions.from_json(content["functions"]), reached)}
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ScenarioError(f"{path}: not a file of coverage: {error!r:.300}") from error
