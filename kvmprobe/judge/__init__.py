"""Judging a trace: compares the kernel's replies with the model, and reads the kernel log."""
