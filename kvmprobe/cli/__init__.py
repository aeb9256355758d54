"""The ``kvmprobe`` command: arguments in, exit status out."""
