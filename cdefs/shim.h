/* System calls and instructions that Python cannot issue itself; defined in preamble.c.
 * Each wrapper of a system call returns the result, or -errno. */
long kvmprobe_ioctl(int fd, unsigned long request, size_t argument);
long kvmprobe_arch_prctl(int code, size_t argument);
uint32_t kvmprobe_mxcsr_mask(void);
void kvmprobe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
uint32_t kvmprobe_header_version(void);
