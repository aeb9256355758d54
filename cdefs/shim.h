/* System calls and instructions that Python cannot issue itself; defined in preamble.c.
 * Each syscall wrapper returns the result, or -errno. */
long kvmprobe_ioctl(int fd, unsigned long request, size_t argument);
long kvmprobe_arch_prctl(int code, size_t argument);
long kvmprobe_iopl(int level);
void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size);
size_t kvmprobe_port_line(uint16_t port, char *line, size_t size);
uint32_t kvmprobe_mxcsr_mask(void);
void kvmprobe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4]);
uint32_t kvmprobe_header_version(void);

uint8_t *kvmprobe_at_page_end(size_t size);

size_t kvmprobe_payload_code_size(void);
void kvmprobe_payload_fill(uint8_t *memory);

/* Forks a process that runs requests from `from` in children of its own and answers each on `to` with a
 * struct kvmprobe_ended, until the end of file.  A child whose time is up it answers for twice: then, and when whoever
 * reads the answers has killed it.  Its other pipe ends are closed there.  Returns its id, or -errno. */
int kvmprobe_zygote(struct kvmprobe_session *session, int from, int to, int others[2]);
