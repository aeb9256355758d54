/* Guest memory with the payload (guest_payload.S), and its commands. */
enum {
    PAGE = 4096,
    PAYLOAD_SLOT = 0x10,         /* and the next; the catalogue's other memory has lower numbers */
    RESET_PAGE = 0xfffff000,
    RESET_VECTOR = 0xff0,
    RESET_SIZE = 16,
    STALE_EXITS = 4,
    UNKNOWN_EXIT = 0x100,      /* KVM_EXIT_UNKNOWN is 0, which means success here */
};

extern const uint8_t kvmprobe_payload_reset[] __attribute__((visibility("hidden")));
extern const uint8_t kvmprobe_payload_code[] __attribute__((visibility("hidden")));
extern const uint8_t kvmprobe_payload_code_end[] __attribute__((visibility("hidden")));

static size_t kvmprobe_payload_code_size(void)
{
    return (size_t)(kvmprobe_payload_code_end - kvmprobe_payload_code);
}

/* Fills the payload's memory: KVMPROBE_PAYLOAD_MEMORY_SIZE bytes of zeros, and a page for the reset vector behind. */
static void kvmprobe_payload_fill(uint8_t *memory)
{
    memcpy(memory + KVMPROBE_PAYLOAD_CODE, kvmprobe_payload_code, kvmprobe_payload_code_size());
    memcpy(memory + KVMPROBE_PAYLOAD_MEMORY_SIZE + RESET_VECTOR, kvmprobe_payload_reset, RESET_SIZE);
}

static long set_region(int vm, uint32_t slot, uint32_t guest_address, uint8_t *memory, size_t size)
{
    struct kvm_userspace_memory_region region = {
        .slot = slot,
        .guest_phys_addr = guest_address,
        .memory_size = size,
        .userspace_addr = (size_t)memory,
    };

    return kvmprobe_ioctl(vm, KVM_SET_USER_MEMORY_REGION, (size_t)&region);
}

static long share_payload(int vm, uint8_t *memory)
{
    long result = set_region(vm, PAYLOAD_SLOT, 0, memory, KVMPROBE_PAYLOAD_MEMORY_SIZE);

    if (result < 0)
        return result;
    return set_region(vm, PAYLOAD_SLOT + 1, RESET_PAGE, memory + KVMPROBE_PAYLOAD_MEMORY_SIZE, PAGE);
}

static long map_payload(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    uint8_t *memory = mmap(
        NULL, KVMPROBE_PAYLOAD_MEMORY_SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return -ENOMEM;
    kvmprobe_payload_fill(memory);
    session->memories[call->memory] = memory;
    return share_payload(session->fds[call->on], memory);
}

/* Enters the guest until it leaves other than for a signal; returns 0 if by the payload's port. */
static long enter(int vcpu, struct kvm_run *area)
{
    long result;

    area->immediate_exit = 0;
    do
        result = kvmprobe_ioctl(vcpu, KVM_RUN, 0);
    while (result == -EINTR);
    if (result < 0)
        return result;
    if (area->exit_reason == KVM_EXIT_IO && area->io.port == KVMPROBE_PAYLOAD_PORT)
        return 0;
    return area->exit_reason ? (long)area->exit_reason : UNKNOWN_EXIT;
}

static long run_guest(const struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    struct kvm_run *area = (struct kvm_run *)session->run_areas[call->on];
    const uint8_t *command = (const uint8_t *)call->argument;
    uint8_t *memory = session->memories[call->memory];
    uint8_t *result_block = memory + KVMPROBE_PAYLOAD_RESULT;
    uint64_t before, sequence;
    long result;
    int exits = 0;

    memcpy(&before, memory + KVMPROBE_PAYLOAD_COUNTER, sizeof(before));
    memset(result_block, 0, KVMPROBE_PAYLOAD_RESULT_SIZE);
    memcpy(memory + KVMPROBE_PAYLOAD_COMMAND, command, KVMPROBE_PAYLOAD_COMMAND_SIZE);
    memcpy(memory + KVMPROBE_PAYLOAD_DATA, command + KVMPROBE_PAYLOAD_COMMAND_SIZE,
           call->input_size - KVMPROBE_PAYLOAD_COMMAND_SIZE);
    /* A vCPU whose registers were restored to those at the OUT exits for it once more. */
    do {
        result = enter(session->fds[call->on], area);
        memcpy(&sequence, result_block + KVMPROBE_PAYLOAD_RESULT_SEQUENCE, sizeof(sequence));
    } while (result == 0 && sequence != before + 1 && ++exits < STALE_EXITS);
    memcpy(call->output, result_block, KVMPROBE_PAYLOAD_RESULT_SIZE);
    memcpy(call->output + KVMPROBE_PAYLOAD_RESULT_SIZE, memory + KVMPROBE_PAYLOAD_DATA,
           call->size - KVMPROBE_PAYLOAD_RESULT_SIZE);
    return result == 0 && sequence != before + 1 ? KVM_EXIT_IO : result;
}
