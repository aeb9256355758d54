/* Tasks: threads and processes that make calls in the scenario's stead, one at a time, as its process asks them through
 * a pipe.  They end with it. */
enum { TASK_STACK = 1 << 16, LARGEST_CAPTURE = 1 << 16 };

extern const uint8_t kvmprobe_task_image[] __attribute__((visibility("hidden")));
extern const uint8_t kvmprobe_task_image_end[] __attribute__((visibility("hidden")));

/* A captured output with its patches; in a task, what it was sent of one. */
static uint8_t captured[LARGEST_CAPTURE];

/* What a task is asked; `copied` bytes of a captured output follow. */
struct errand {
    const struct kvmprobe_call *call;
    size_t copied;
    int hold;
};

/* The same for task_image.S. */
struct image_errand {
    uint64_t alt_stack;
    uint64_t code;
    uint64_t argument;
    uint64_t bytes;
    uint64_t by_address;
};
struct image_answer {
    int64_t result;
    uint64_t bytes;
};

struct task_start {
    struct kvmprobe_session *session;
    int parent;
    enum kvmprobe_relation relation;
    int requests;
    int answers;
};

/* ORDER: these two set no errno; a thread that shares the memory has its creator's. */
static int read_whole(int fd, void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        long got = kvmprobe_syscall(SYS_read, fd, (long)buffer + (long)done, (long)(size - done), 0, 0);
        if (got == 0 || (got < 0 && got != -EINTR))
            return 0;
        done += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

static int write_whole(int fd, const void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        long put = kvmprobe_syscall(SYS_write, fd, (long)buffer + (long)done, (long)(size - done), 0, 0);
        if (put < 0 && put != -EINTR)
            return 0;
        done += put > 0 ? (size_t)put : 0;
    }
    return 1;
}

static void serve_errands(struct kvmprobe_session *session, int requests, int answers)
{
    struct errand errand;

    while (read_whole(requests, &errand, sizeof(errand))) {
        struct input input = {errand.call->argument, errand.call->input_size};
        struct answer answer = {0};

        if (errand.call->kind == KVMPROBE_CAPTURED) {
            input = (struct input){(size_t)captured, errand.copied};
            if (!read_whole(requests, captured, errand.copied))
                return;
        }
        session->hold = errand.hold;
        perform(session, errand.call, &input, &answer);
        if (!write_whole(answers, &answer, sizeof(answer))
            || !write_whole(answers, errand.call->output, errand.call->size))
            return;
    }
}

/* Returns if that does not work. */
static void become_image(int requests, int answers)
{
    static char *const no_words[] = {NULL};
    size_t size = (size_t)(kvmprobe_task_image_end - kvmprobe_task_image);
    const unsigned int cloexec = 1, exec = 0x10;      /* MFD_CLOEXEC; MFD_EXEC, which Linux before 6.3 lacks */
    long fd = syscall(SYS_memfd_create, "kvmprobe-task", cloexec | exec);

    if (fd < 0)
        fd = syscall(SYS_memfd_create, "kvmprobe-task", cloexec);
    if (fd < 0 || !write_whole((int)fd, kvmprobe_task_image, size) || dup2(requests, 0) < 0 || dup2(answers, 1) < 0)
        return;
    syscall(SYS_execveat, (int)fd, "", no_words, no_words, AT_EMPTY_PATH);
}

static int act(void *argument)
{
    const struct task_start start = *(struct task_start *)argument;
    struct image_answer ready = {0};

    if (start.relation != KVMPROBE_THREAD) {
        kvmprobe_syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (kvmprobe_syscall(SYS_getppid, 0, 0, 0, 0, 0) != start.parent)
            return 0;
    }
    if (start.relation == KVMPROBE_EXEC)
        become_image(start.requests, start.answers);
    else if (write_whole(start.answers, &ready, sizeof(ready)))
        serve_errands(start.session, start.requests, start.answers);
    return 0;
}

static long start_task(struct task_start *start)
{
    const int sharing = CLONE_VM | CLONE_FS | CLONE_FILES;
    int flags = start->relation == KVMPROBE_THREAD ? sharing | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM
              : start->relation == KVMPROBE_SHARED_MM ? sharing | SIGCHLD : SIGCHLD;
    uint8_t *stack = mmap(NULL, TASK_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int pid;

    if (stack == MAP_FAILED)
        return -ENOMEM;
    pid = clone(act, stack + TASK_STACK, flags, start);
    return pid < 0 ? -(long)errno : pid;
}

/* A process that a task's death kills dies of the same signal: it is the scenario that was killed. */
static void tell_death(const struct kvmprobe_task *task, struct answer *answer)
{
    int status = 0;

    while (waitpid(task->pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
    }
    lack(answer, "a task has ended with status %d", status);
}

/* Waits until an answer, or a part of it, is there; returns 0 if the task is gone. */
static int await_answer(const struct kvmprobe_task *task, struct answer *answer)
{
    struct pollfd ready[] = {{.fd = task->answers, .events = POLLIN}, {.fd = task->process, .events = POLLIN}};

    while (poll(ready, 2, -1) < 0)
        ;
    if (ready[0].revents & POLLIN)
        return 1;
    tell_death(task, answer);
    return 0;
}

static long spawn(struct kvmprobe_session *session, const struct kvmprobe_call *call, struct answer *answer)
{
    struct kvmprobe_task *task = &session->tasks[call->binds];
    struct task_start start = {.session = session, .parent = getpid(), .relation = (enum kvmprobe_relation)call->argument};
    struct image_answer ready;
    int requests[2], answers[2];
    long pid;

    if (pipe2(requests, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0) {
        lack(answer, "no pipe to a task: %s", strerror(errno));
        return 0;
    }
    start.requests = requests[0];
    start.answers = answers[1];
    pid = start_task(&start);
    if (pid < 0)
        return pid;
    *task = (struct kvmprobe_task){
        .relation = start.relation,
        .pid = (int)pid,
        .requests = requests[1],
        .answers = answers[0],
        .process = start.relation == KVMPROBE_THREAD ? -1 : (int)syscall(SYS_pidfd_open, (int)pid, 0),
    };
    if (await_answer(task, answer) && !read_whole(task->answers, &ready, sizeof(ready)))
        lack(answer, "a task did not start");
    return 0;
}

static void ask_image(const struct kvmprobe_task *task, const struct kvmprobe_call *call, struct answer *answer)
{
    struct image_errand errand = {
        .alt_stack = call->kind == KVMPROBE_ALT_STACK,
        .code = call->request,
        .argument = call->argument,
        .by_address = call->output != NULL,
    };
    struct image_answer told;

    if ((call->kind != KVMPROBE_ALT_STACK && call->kind != KVMPROBE_ARCH_PRCTL) || call->size > sizeof(errand.bytes)) {
        lack(answer, "a program of its own can only arch_prctl, of 8 bytes, and sigaltstack");
        return;
    }
    if (call->output)
        memcpy(&errand.bytes, call->blank, call->size);
    if (!write_whole(task->requests, &errand, sizeof(errand)) || !await_answer(task, answer))
        return;
    if (!read_whole(task->answers, &told, sizeof(told))) {
        lack(answer, "a task does not answer");
        return;
    }
    answer->result = told.result;
    if (call->output)
        memcpy(call->output, &told.bytes, call->size);
}

static void ask(
    const struct kvmprobe_session *session, const struct kvmprobe_call *call, const struct input *input, struct answer *answer)
{
    const struct kvmprobe_task *task = &session->tasks[call->by];
    struct errand errand = {.call = call, .hold = session->hold};

    if (!task->pid) {
        lack(answer, "a call by a task that was not spawned");
        return;
    }
    if (task->relation == KVMPROBE_EXEC) {
        ask_image(task, call, answer);
        return;
    }
    errand.copied = call->kind == KVMPROBE_CAPTURED ? input->size : 0;
    if (errand.copied > sizeof(captured)) {
        lack(answer, "a captured output is too long for a task");
        return;
    }
    if (!write_whole(task->requests, &errand, sizeof(errand))
        || !write_whole(task->requests, (const void *)input->argument, errand.copied)
        || !await_answer(task, answer))
        return;
    if (!read_whole(task->answers, answer, sizeof(*answer)) || !read_whole(task->answers, call->output, call->size))
        lack(answer, "a task does not answer");
}
