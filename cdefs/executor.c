/* Issues each scenario's calls in a child.  In C, because a child pays for each page that it touches for the first
 * time with a fault and a copy; a scenario in Python cost hundreds of them, more than its calls.  For the same
 * reason children are forked by the zygote, a copy of the worker that does nothing else: after a fork the parent
 * pays as well.
 *
 * The child says one line a step, before the next step begins:
 *     {"n":NR,"s":STEP,"r":[[RESULT],[RESULT,OUTPUT],...],"k":["kernel message",...]}
 * OUTPUT is "*BASE64", the number of a known one, or 0: as the call's last one in this scenario. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { LOG_RECORD = 8192, LINE = 1 << 20, XSTATE_BV_OFFSET = 512, XFD_MSR = 0x1c4 };

static char line[LINE];
static size_t line_length;

static void say(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    line_length += (size_t)vsnprintf(line + line_length, LINE - line_length, format, values);
    va_end(values);
    if (line_length >= LINE)
        abort();
}

static void end_line(const struct kvmprobe_session *session)
{
    say("\n");
    if (session->out_fd < 0)
        kvmprobe_port_out(session->out_port, line, line_length);
    for (size_t done = 0; session->out_fd >= 0 && done < line_length;) {
        ssize_t written = write(session->out_fd, line + done, line_length - done);
        if (written < 0 && errno != EINTR)
            _exit(KVMPROBE_BROKEN);
        done += written > 0 ? (size_t)written : 0;
    }
    line_length = 0;
}

static enum kvmprobe_end broken(const struct kvmprobe_session *session, int number, int step, const char *why)
{
    line_length = 0;
    say("{\"broken\":%d,\"traceback\":\"step %d: %s\"}", number, step, why);
    end_line(session);
    return KVMPROBE_BROKEN;
}

static void say_base64(const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    if (line_length + size / 3 * 4 + 8 >= LINE)
        abort();
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        line[line_length++] = digits[three >> 18];
        line[line_length++] = digits[three >> 12 & 63];
        line[line_length++] = left > 1 ? digits[three >> 6 & 63] : '=';
        line[line_length++] = left > 2 ? digits[three & 63] : '=';
    }
}

static void say_output(struct kvmprobe_call *call)
{
    const struct kvmprobe_known *known = call->known;

    if (call->told && memcmp(call->last, call->output, call->size) == 0) {
        say(",0");
        return;
    }
    memcpy(call->last, call->output, call->size);
    call->told = 1;
    while (known && memcmp(known->bytes, call->output, call->size) != 0)
        known = known->next;
    if (known) {
        say(",%d", known->number);
        return;
    }
    say(",\"*");
    say_base64(call->output, call->size);
    say("\"");
}

/* The kernel escapes in its records whatever is not printable ASCII: Documentation/ABI/testing/dev-kmsg. */
static void say_log(int fd)
{
    char record[LOG_RECORD + 1];
    int messages = 0;
    ssize_t size;

    while (fd >= 0 && ((size = read(fd, record, LOG_RECORD)) > 0 || (size < 0 && errno == EPIPE))) {
        record[size > 0 ? size : 0] = 0;
        const char *text = size > 0 ? strchr(record, ';') : ";kvmprobe: kernel log records were lost";
        say(messages++ ? ",\"" : ",\"k\":[\"");
        for (text = text ? text + 1 : ""; *text && *text != '\n'; text++)
            say(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
        say("\"");
    }
    if (messages)
        say("]");
}

static void note_xfd(struct kvmprobe_session *session, const uint8_t *msrs, long count)
{
    for (long i = 0; i < count; i++) {
        uint32_t index;
        memcpy(&index, msrs + 8 + 16 * i, sizeof(index));
        if (index == XFD_MSR)
            memcpy(&session->xfd, msrs + 16 + 16 * i, sizeof(session->xfd));
    }
}

static long open_device(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    int fd = open(session->device, O_RDWR | O_CLOEXEC);
    long size;

    if (fd < 0)
        return -(long)errno;
    session->fds[call->binds] = fd;
    size = kvmprobe_ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    session->run_size = size > 0 ? (size_t)size : 4096;
    return fd;
}

static long plain_ioctl(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    long result = kvmprobe_ioctl(session->fds[call->on], call->request, call->argument);

    if (call->binds >= 0 && result >= 0) {
        session->fds[call->binds] = (int)result;
        if (call->request == KVM_CREATE_VCPU) {
            void *area = mmap(NULL, session->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, (int)result, 0);
            session->run_areas[call->binds] = area == MAP_FAILED ? NULL : area;
        }
    }
    return result;
}

static long output_ioctl(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    long result;

    memcpy(call->output, call->blank, call->size);
    result = kvmprobe_ioctl(session->fds[call->on], call->request, (size_t)call->output);
    if (result < 0)
        return result;
    if (call->capture >= 0)
        session->captured[call->capture] = call->output;
    if (call->request == KVM_GET_XSAVE2)
        memcpy(&session->xstate_bv, call->output + XSTATE_BV_OFFSET, sizeof(session->xstate_bv));
    else if (call->request == KVM_GET_MSRS)
        note_xfd(session, call->output, result);
    return result;
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

static long issue(struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    switch (call->kind) {
    case KVMPROBE_OPEN:
        return open_device(session, call);
    case KVMPROBE_IOCTL:
        return plain_ioctl(session, call);
    case KVMPROBE_OUTPUT:
        return output_ioctl(session, call);
    case KVMPROBE_CAPTURED:
        return kvmprobe_ioctl(session->fds[call->on], call->request, (size_t)session->captured[call->capture]);
    case KVMPROBE_ARCH_PRCTL:
        return kvmprobe_arch_prctl((int)call->request, call->argument);
    case KVMPROBE_RUN:
        return run(session, call);
    }
    abort();
}

/* Says what the call needs and an earlier one did not leave; NULL if nothing. */
static const char *missing(const struct kvmprobe_session *session, const struct kvmprobe_call *call)
{
    if (call->on >= 0 && session->fds[call->on] < 0)
        return "a call on a descriptor that is not open";
    if (call->kind == KVMPROBE_RUN && !session->run_areas[call->on])
        return "KVM_RUN without a run area";
    if (call->kind == KVMPROBE_CAPTURED && !session->captured[call->capture])
        return "a captured output is used, but nothing was captured";
    return NULL;
}

static enum kvmprobe_end run_scenario(
    struct kvmprobe_session *session, int number, struct kvmprobe_call **calls, int steps)
{
    for (int step = 0; step < steps; step++, calls++) {
        say("{\"n\":%d,\"s\":%d,\"r\":[", number, step);
        for (int position = 0; *calls; position++, calls++) {
            struct kvmprobe_call *call = *calls;
            const char *lacks = missing(session, call);
            if (lacks)
                return broken(session, number, step, lacks);
            if (session->hold && call->kind == KVMPROBE_RUN && (session->xstate_bv & session->xfd))
                return KVMPROBE_HELD;
            say("%s[%ld", position ? "," : "", issue(session, call));
            if (call->output)
                say_output(call);
            say("]");
        }
        say("]");
        say_log(session->log_fd);
        say("}");
        end_line(session);
    }
    return KVMPROBE_DONE;
}

static struct kvmprobe_ended kvmprobe_watch(int pid, int deadline_ms)
{
    struct pollfd process = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    struct kvmprobe_ended ended = {0};
    int ready;

    do
        ready = poll(&process, 1, deadline_ms);
    while (ready < 0 && errno == EINTR);
    ended.timed_out = ready == 0;
    if (ended.timed_out)
        kill(pid, SIGKILL);
    while (waitpid(pid, &ended.status, 0) < 0 && errno == EINTR)
        ;
    close(process.fd);
    return ended;
}

static int read_whole(int fd, void *buffer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(fd, (char *)buffer + done, size - done);
        if (got == 0 || (got < 0 && errno != EINTR))
            return 0;
        done += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

static void serve(struct kvmprobe_session *session, int from, int to)
{
    static struct kvmprobe_call *calls[KVMPROBE_ADDRESSES];
    struct kvmprobe_request request;
    struct kvmprobe_ended ended;

    while (read_whole(from, &request, sizeof(request))) {
        if (!read_whole(from, calls, (size_t)request.addresses * sizeof(calls[0])))
            return;
        pid_t pid = fork();
        if (pid < 0)
            return;
        if (pid == 0) {
            session->hold = request.hold;
            _exit(run_scenario(session, request.number, calls, request.steps));
        }
        ended = kvmprobe_watch(pid, request.deadline_ms);
        if (write(to, &ended, sizeof(ended)) != sizeof(ended))
            return;
    }
}

static int kvmprobe_zygote(struct kvmprobe_session *session, int from, int to, int others[2])
{
    pid_t pid = fork();

    if (pid == 0) {
        close(others[0]);
        close(others[1]);
        serve(session, from, to);
        _exit(0);
    }
    return pid < 0 ? -errno : pid;
}
