/* Issues one call, in the scenario's own process or in a task. */

/* The kernel is to say what a call on a closed descriptor comes to. */
enum { CLOSED = -2 };

static long open_device(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    int fd = open(session->device, O_RDWR | O_CLOEXEC);
    long size;

    if (fd < 0)
        return -(long)errno;
    session->fds[call->binds] = fd;
    size = kvmprobe_ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    session->run_size = size > 0 ? (size_t)size : PAGE;
    return fd;
}

static long close_descriptor(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    int fd = session->fds[call->on];

    session->fds[call->on] = CLOSED;
    if (session->run_areas[call->on])
        munmap(session->run_areas[call->on], session->run_size);
    session->run_areas[call->on] = NULL;
    return close(fd) < 0 ? -(long)errno : 0;
}

static long plain_ioctl(struct kvmprobe_session *session, const struct kvmprobe_call *call, size_t argument)
{
    long result = kvmprobe_ioctl(session->fds[call->on], call->request, argument);

    if (call->binds >= 0 && result >= 0) {
        session->fds[call->binds] = (int)result;
        if (call->request == KVM_CREATE_VCPU) {
            void *area = mmap(NULL, session->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, (int)result, 0);
            session->run_areas[call->binds] = area == MAP_FAILED ? NULL : area;
            session->xstate_bv[call->binds] = session->xfd[call->binds] = 0;
        }
    }
    return result;
}

static long output_ioctl(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    long result;

    memcpy(call->output, call->blank, call->size);
    result = kvmprobe_ioctl(session->fds[call->on], call->request, (size_t)call->output);
    if (result >= 0)
        note_read_back(session, call, result);
    return result;
}

static long arch_prctl_call(const struct kvmprobe_call *call)
{
    if (!call->output)
        return kvmprobe_arch_prctl((int)call->request, call->argument);
    memcpy(call->output, call->blank, call->size);
    return kvmprobe_arch_prctl((int)call->request, (size_t)call->output);
}

/* The memory stays: a signal could use it. */
static long set_alt_stack(size_t size)
{
    stack_t stack = {.ss_size = size};

    stack.ss_sp = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack.ss_sp == MAP_FAILED)
        return -ENOMEM;
    return kvmprobe_syscall(SYS_sigaltstack, (long)&stack, 0, 0, 0, 0);
}

static long limit_descriptors(void)
{
    struct rlimit limit;
    int lowest = open("/", O_PATH | O_CLOEXEC);

    if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -(long)errno;
    close(lowest);
    limit.rlim_cur = (rlim_t)lowest;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -(long)errno : 0;
}

static long run(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    struct kvm_run *area = (struct kvm_run *)session->run_areas[call->on];
    long result;

    area->immediate_exit = (uint8_t)call->argument;
    result = kvmprobe_ioctl(session->fds[call->on], KVM_RUN, 0);
    memcpy(call->output, &area->exit_reason, call->size);
    return result;
}

static long issue(
    struct kvmprobe_session *session, const struct kvmprobe_call *call, const struct input *input, struct answer *answer)
{
    switch (call->kind) {
    case KVMPROBE_OPEN:
        return open_device(session, call);
    case KVMPROBE_CLOSE:
        return close_descriptor(session, call);
    case KVMPROBE_IOCTL:
    case KVMPROBE_CAPTURED:
        return plain_ioctl(session, call, input->argument);
    case KVMPROBE_OUTPUT:
        return output_ioctl(session, call);
    case KVMPROBE_SLEEPING:
        return sleeping_ioctl(session->fds[call->on], call, answer);
    case KVMPROBE_ARCH_PRCTL:
        return arch_prctl_call(call);
    case KVMPROBE_ALT_STACK:
        return set_alt_stack(call->argument);
    case KVMPROBE_LIMIT:
        return limit_descriptors();
    case KVMPROBE_MAP_PAYLOAD:
        return map_payload(session, call);
    case KVMPROBE_SHARE_PAYLOAD:
        return share_payload(session->fds[call->on], session->memories[call->memory]);
    case KVMPROBE_RUN:
        return run(session, call);
    case KVMPROBE_RUN_GUEST:
        return run_guest(session, call);
    case KVMPROBE_SPAWN:
        break;
    }
    abort();
}

/* Says what the call needs and an earlier one did not leave; NULL if nothing. */
static const char *missing(const struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    if (call->on >= 0 && session->fds[call->on] < 0 && session->fds[call->on] != CLOSED)
        return "a call on a descriptor that is not open";
    if ((call->kind == KVMPROBE_RUN || call->kind == KVMPROBE_RUN_GUEST) && !session->run_areas[call->on])
        return "KVM_RUN without a run area";
    if (call->memory >= 0 && call->kind != KVMPROBE_MAP_PAYLOAD && !session->memories[call->memory])
        return "the payload's memory is used, but was not mapped";
    return NULL;
}

static void perform(
    struct kvmprobe_session *session, const struct kvmprobe_call *call, const struct input *input, struct answer *answer)
{
    const char *lacks = missing(session, call);

    if (lacks)
        lack(answer, "%s", lacks);
    else if (session->hold && is_fatal(session, call, input))
        answer->held = 1;
    else
        answer->result = issue(session, call, input, answer);
}
