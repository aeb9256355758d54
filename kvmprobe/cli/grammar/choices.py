"""Values of options; argparse returns plain strings, which are equal to these."""

from enum import StrEnum


class Where(StrEnum):
    """``--target``: where to run."""

    AUTO = "auto"
    HOST = "host"
    LAB = "lab"


class Observe(StrEnum):
    """``--observe``: after which steps state is read."""

    EACH = "each"
    END = "end"
    NONE = "none"
    BOTH = "both"
    SAMPLE = "sample"


class Related(StrEnum):
    """``--relation``: which derived scenarios run, beside the names of derivations."""

    ALL = "all"
    SAMPLE = "sample"
    NONE = "none"


class OfKnown(StrEnum):
    """``--known``: how a failure that known defects explain counts."""

    FAIL = "fail"
    XFAIL = "xfail"
