"""Records the KVM calls of a program.  Layer: tracer; starts ``kvmprobe/native/recorder``."""
