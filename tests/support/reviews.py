"""Reviews of recordings."""

from kvmprobe.errors import RecordingTruncated
from kvmprobe.execution.preflight import Preflight
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.recordings.reader import RecordingReader
from kvmprobe.vmm.review import Kernel, Reviewer


def reviewed(path, host=None, kernel=Kernel.RECORDED):
    """Review a recording, by default for the host that it has."""
    with RecordingReader(path) as reader:
        if host is None:
            recorded = reader.host
            host = Preflight.of_recorded(dict(recorded)).profile if recorded else sapphire_rapids()
        reviewer = Reviewer(host, kernel)
        try:
            for entry in reader:
                reviewer.take(entry)
        except RecordingTruncated:
            pass
    return reviewer.finished()


def of_kind(kind, review):
    """Return the findings of one kind."""
    return [finding for finding in review.findings if isinstance(finding, kind)]
