"""Upstream's selftests: built from a distribution's kernel source, run on the emulated host."""
