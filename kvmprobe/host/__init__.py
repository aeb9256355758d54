"""The machine that kvmprobe runs on: its files, its settings, whether a run should begin on it."""
