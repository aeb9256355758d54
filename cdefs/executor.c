/* Issues each scenario's calls in a child.  In C, because a child pays for each page that it touches for the first
 * time with a fault and a copy; a scenario in Python cost hundreds of them, more than its calls.  For the same
 * reason children are forked by the zygote, a copy of the worker that does nothing else: after a fork the parent
 * pays as well.
 *
 * The child says one line a step, before the next step begins:
 *     {"n":NR,"s":STEP,"r":[[RESULT],[RESULT,OUTPUT],...],"k":["kernel message",...]}
 * OUTPUT is "*BASE64", the number of a known one, or 0: as the call's last one in this scenario. */
enum { LOG_RECORD = 8192, LINE = 1 << 20 };

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

/* Says where the captured output is, patched if need be; or what is wrong, NULL if nothing. */
static const char *find_captured(
    const struct kvmprobe_session *session, const struct kvmprobe_call *call, struct input *input)
{
    const struct kvmprobe_call *source = session->captured[call->capture];

    if (!source)
        return "a captured output is used, but nothing was captured";
    *input = (struct input){(size_t)source->output, source->size};
    if (!call->patches)
        return NULL;
    if (source->size > sizeof(captured))
        return "a captured output is too long to be patched";
    memcpy(captured, source->output, source->size);
    input->argument = (size_t)captured;
    for (const struct kvmprobe_patch *patch = call->patches; patch; patch = patch->next) {
        if (patch->size > source->size || patch->offset > source->size - patch->size)
            return "a patch lies outside of the captured output";
        memcpy(captured + patch->offset, patch->bytes, patch->size);
    }
    return NULL;
}

static void make(struct kvmprobe_session *session, const struct kvmprobe_call *call, struct answer *answer)
{
    struct input input = {call->argument, call->input_size};
    const char *wrong = call->kind == KVMPROBE_CAPTURED ? find_captured(session, call, &input) : NULL;

    answer->result = answer->held = answer->lacks[0] = 0;
    if (wrong)
        lack(answer, "%s", wrong);
    else if (call->by >= 0)
        ask(session, call, &input, answer);
    else if (call->kind == KVMPROBE_SPAWN)
        answer->result = spawn(session, call, answer);
    else
        perform(session, call, &input, answer);
    if (call->kind == KVMPROBE_OUTPUT && call->capture >= 0 && answer->result >= 0)
        session->captured[call->capture] = call;
}

static enum kvmprobe_end run_scenario(
    struct kvmprobe_session *session, int number, struct kvmprobe_call **calls, int steps)
{
    struct answer answer;

    for (int step = 0; step < steps; step++, calls++) {
        __atomic_store_n(session->begun, step + 1, __ATOMIC_RELAXED);
        say("{\"n\":%d,\"s\":%d,\"r\":[", number, step);
        for (int position = 0; *calls; position++, calls++) {
            struct kvmprobe_call *call = *calls;
            make(session, call, &answer);
            if (answer.lacks[0])
                return broken(session, number, step, answer.lacks);
            if (answer.held)
                return KVMPROBE_GATED;
            say("%s[%ld", position ? "," : "", answer.result);
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

/* Waits for a scenario's process. */
static enum kvmprobe_overrun overdue(const struct kvmprobe_session *session, const struct kvmprobe_request *request, pid_t pid)
{
    struct pollfd process = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int left = request->deadline_ms, begun = -1, now = 0, ready = 0;

    while (ready == 0 && left > 0 && begun != now) {
        int wait = left < request->step_ms ? left : request->step_ms;
        begun = __atomic_load_n(session->begun, __ATOMIC_RELAXED);
        do
            ready = poll(&process, 1, wait);
        while (ready < 0 && errno == EINTR);
        now = __atomic_load_n(session->begun, __ATOMIC_RELAXED);
        left -= wait;
    }
    close(process.fd);
    return ready ? KVMPROBE_IN_TIME : left > 0 ? KVMPROBE_OVERRUN_STEP : KVMPROBE_OVERRUN_SCENARIO;
}

static void serve(struct kvmprobe_session *session, int from, int to)
{
    static struct kvmprobe_call *calls[KVMPROBE_ADDRESSES];
    struct kvmprobe_request request;
    struct kvmprobe_ended ended;

    while (read_whole(from, &request, sizeof(request))) {
        if (!read_whole(from, calls, (size_t)request.addresses * sizeof(calls[0])))
            return;
        *session->begun = 0;
        pid_t pid = fork();
        if (pid < 0)
            return;
        if (pid == 0) {
            session->hold = request.hold;
            _exit(run_scenario(session, request.number, calls, request.steps));
        }
        ended = (struct kvmprobe_ended){.late = overdue(session, &request, pid), .pid = pid};
        if (ended.late && !write_whole(to, &ended, sizeof(ended)))
            return;
        ended.late = KVMPROBE_IN_TIME;
        while (waitpid(pid, &ended.status, 0) < 0 && errno == EINTR)
            ;
        /* Its tasks are ours now, and killed. */
        while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
            ;
        if (!write_whole(to, &ended, sizeof(ended)))
            return;
    }
}

static int kvmprobe_zygote(struct kvmprobe_session *session, int from, int to, int others[2])
{
    pid_t pid = fork();

    if (pid == 0) {
        close(others[0]);
        close(others[1]);
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        session->begun = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (session->begun == MAP_FAILED)
            _exit(KVMPROBE_BROKEN);
        serve(session, from, to);
        _exit(0);
    }
    return pid < 0 ? -errno : pid;
}
