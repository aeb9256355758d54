"""The emulated AMX host: kernels by SPEC, the patched emulator, the machine."""
