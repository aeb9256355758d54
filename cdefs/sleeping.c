/* An ioctl that sleeps while it reads its bytes: they lie on pages of userfaultfd(2) that another thread gives when the
 * calling one has left its processor. */
enum { PROC_NAME = 64, THREAD_STACK = 1 << 14 };

struct giver {
    int fd;                    /* of userfaultfd */
    int stop;                  /* eventfd: the call is over */
    int procfs;                /* tells what the caller does; -1 if it does not */
    volatile int alive;        /* cleared, and its waiters woken, by the kernel */
    struct uffdio_copy copy;
};

/* Linux tells "running" there of a thread that has not been switched out: fs/proc/base.c: proc_pid_syscall. */
static int is_running(int procfs)
{
    char first = 0;

    kvmprobe_syscall(SYS_pread64, procfs, (long)&first, 1, 0, 0);
    return first == 'r';
}

/* ORDER: no libc call that sets errno; this thread has the caller's. */
static int give(void *argument)
{
    struct giver *giver = argument;
    struct pollfd ready[] = {{.fd = giver->fd, .events = POLLIN}, {.fd = giver->stop, .events = POLLIN}};

    while (kvmprobe_syscall(SYS_poll, (long)ready, 2, -1, 0, 0) < 0)
        ;
    if (!(ready[0].revents & POLLIN))
        return 0;
    while (is_running(giver->procfs))
        kvmprobe_syscall(SYS_sched_yield, 0, 0, 0, 0, 0);
    while (kvmprobe_ioctl(giver->fd, UFFDIO_COPY, (size_t)&giver->copy) == -EAGAIN)
        giver->copy.copy = 0;
    return 0;
}

static long with_giver(int fd, const struct kvmprobe_call *call, struct giver *giver, struct answer *answer)
{
    static uint8_t stack[THREAD_STACK] __attribute__((aligned(16)));
    const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
                    | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    uint64_t over = 1;
    long result;
    int alive;

    if (clone(give, stack + THREAD_STACK, flags, giver, &giver->alive, NULL, &giver->alive) < 0) {
        lack(answer, "no thread to give the page: %s", strerror(errno));
        return 0;
    }
    result = kvmprobe_ioctl(fd, call->request, giver->copy.dst);
    kvmprobe_syscall(SYS_write, giver->stop, (long)&over, sizeof(over), 0, 0);
    while ((alive = giver->alive) != 0)
        kvmprobe_syscall(SYS_futex, (long)&giver->alive, FUTEX_WAIT, alive, 0, 0);
    return result;
}

static long on_missing_page(int fd, const struct kvmprobe_call *call, struct giver *giver, struct answer *answer)
{
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
    size_t size = giver->copy.len;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long result = 0;

    if (pages == MAP_FAILED)
        return -ENOMEM;
    giver->copy.dst = range.range.start = (size_t)pages;
    range.range.len = size;
    if (ioctl(giver->fd, UFFDIO_API, &api) < 0 || ioctl(giver->fd, UFFDIO_REGISTER, &range) < 0)
        lack(answer, "userfaultfd does not take the page: %s", strerror(errno));
    else
        result = with_giver(fd, call, giver, answer);
    munmap(pages, size);
    return result;
}

static long sleeping_ioctl(int fd, const struct kvmprobe_call *call, struct answer *answer)
{
    char name[PROC_NAME];
    struct giver giver = {.copy = {.src = call->argument, .len = call->input_size}};
    long result = 0;

    snprintf(name, sizeof(name), "/proc/self/task/%ld/syscall", (long)syscall(SYS_gettid));
    giver.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
    giver.stop = eventfd(0, EFD_CLOEXEC);
    giver.procfs = open(name, O_RDONLY | O_CLOEXEC);
    if (giver.fd < 0 || giver.stop < 0 || giver.procfs < 0)
        lack(answer, "a page that is not there yet takes userfaultfd and %s: %s", name, strerror(errno));
    else
        result = on_missing_page(fd, call, &giver, answer);
    close(giver.procfs);
    close(giver.stop);
    close(giver.fd);
    return result;
}
