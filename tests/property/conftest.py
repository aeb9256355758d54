"""A busy machine is no failure: examples have no deadline, timings belong to the benchmark."""

from hypothesis import settings

settings.register_profile("kvmprobe", deadline=None)
settings.load_profile("kvmprobe")
