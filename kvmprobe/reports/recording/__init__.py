"""A recording of a program's KVM calls, as text."""
