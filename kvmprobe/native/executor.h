/* What Python uses of the executor's code.  Read by cffi and by the C compiler. */

/* Copies the kernel's next message to `text` and returns its length; 0 if there is none.  See kernel_log.c. */
size_t kvmprobe_next_message(int log_fd, char *text, size_t size);

/* Returns 1 if a call loads the guest's FPU state while XFD disables a component in it.  See gate.c. */
int kvmprobe_load_is_fatal(uint64_t xstate_bv, uint64_t xfd, unsigned long request, const uint8_t *bytes, size_t size);

size_t kvmprobe_payload_code_size(void);
void kvmprobe_payload_fill(uint8_t *memory);

void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size);
