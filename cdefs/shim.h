/* System calls and instructions that Python cannot issue itself; defined in preamble.c.
 * Each syscall wrapper returns the result, or -errno. */
long kvmprobe_ioctl(int fd, unsigned long request, size_t argument);
long kvmprobe_arch_prctl(int code, size_t argument);
long kvmprobe_iopl(int level);
void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size);
size_t kvmprobe_port_line(uint16_t port, char *line, size_t size);
uint32_t kvmprobe_mxcsr_mask(void);
void kvmprobe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);

extern const uint8_t kvmprobe_long_mode_code[];
size_t kvmprobe_long_mode_code_size(void);

/* Runs the calls in a forked child; a NULL ends each step, `steps` of them.  Returns its process id, or -errno. */
int kvmprobe_spawn(struct kvmprobe_session *session, int number, struct kvmprobe_call **calls, int steps);
