"""Documents of ``kvmprobe probe --json`` of real hosts, cut to what `compat` reads."""

import json
from pathlib import Path

from kvmprobe.execution.probe_document import read_probe

FOLDER = Path(__file__).parent.parent / "probes"


def path_of(name):
    """The document of an emulated host by its kernel, or of a kvm_pvm host (6.18.44-pvm)."""
    return FOLDER / f"{name}.json"


def profile_of(name):
    return read_probe(path_of(name)).profile


def changed(name, folder, **values):
    """A copy of a document with values at paths, such as ``facts__cpu__xcr0=5``."""
    document = json.loads(path_of(name).read_text())
    for path, value in values.items():
        *names, last = path.split("__")
        place = document
        for each in names:
            place = place[int(each) if isinstance(place, list) else each]
        place[last] = value
    path = folder / "changed.json"
    path.write_text(json.dumps(document))
    return path
