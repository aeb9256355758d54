/* Tasks: threads and processes that make calls for the scenario, one at a time. */
#include <errno.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

static void serve(int requests, int answers);

#include "shared/process.h"
#include "shared/tasks.h"

extern const uint8_t task_image[] __attribute__((visibility("hidden")));
extern const uint8_t task_image_end[] __attribute__((visibility("hidden")));

static struct {
	struct task task;
	int relation;	/* KVMPROBE_THREAD, ... */
} tasks[MOST_TASKS];

/* The session in which the tasks were created. */
static struct session *served;

/* A request to a task, followed by `copied` bytes of a captured output.  The task sends the result, then the output. */
struct request {
	const struct kvmprobe_call *call;
	size_t copied;
	int gate;
};

/* The same for task_image.S. */
struct image_request {
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

int read_whole(int fd, void *buffer, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t got = read(fd, (uint8_t *)buffer + done, size - done);

		if (got == 0 || (got < 0 && errno != EINTR))
			return 0;
		done += got > 0 ? (size_t)got : 0;
	}
	return 1;
}

int write_whole(int fd, const void *buffer, size_t size)
{
	for (size_t done = 0; done < size;) {
		ssize_t put = write(fd, (const uint8_t *)buffer + done, size - done);

		if (put < 0 && errno != EINTR)
			return 0;
		done += put > 0 ? (size_t)put : 0;
	}
	return 1;
}

static void serve(int requests, int answers)
{
	struct request request;

	while (read_whole(requests, &request, sizeof(request))) {
		struct input input = { request.call->argument, request.call->input_size };
		uint8_t *copied = NULL;
		long result;

		if (request.call->kind == KVMPROBE_CAPTURED) {
			copied = new_memory(request.copied + 1);
			input = (struct input){ (size_t)copied, request.copied };
			if (!read_whole(requests, copied, request.copied))
				return;
		}
		served->gate = request.gate;
		result = perform(served, request.call, &input);
		if (copied)
			munmap(copied, request.copied + 1);
		if (!write_whole(answers, &result, sizeof(result))
		    || !write_whole(answers, request.call->output, request.call->size))
			return;
	}
}

/* Executes task_image.S; returns only on failure. */
static void become_image(int requests, int answers)
{
	/* With an empty argv, the kernel logs a message once for each boot. */
	static char *const arguments[] = { "kvmprobe-task", NULL }, *const no_variables[] = { NULL };
	size_t size = (size_t)(task_image_end - task_image);
	const unsigned int cloexec = 1, exec = 0x10;	/* MFD_CLOEXEC; MFD_EXEC, which Linux before 6.3 lacks */
	int fd = (int)syscall(SYS_memfd_create, "kvmprobe-task", cloexec | exec);

	if (fd < 0)
		fd = (int)syscall(SYS_memfd_create, "kvmprobe-task", cloexec);
	if (fd < 0 || !write_whole(fd, task_image, size) || dup2(requests, 0) < 0 || dup2(answers, 1) < 0)
		return;
	syscall(SYS_execveat, fd, "", arguments, no_variables, 0x1000 /* AT_EMPTY_PATH */);
}

static long spawn_image(struct task *task)
{
	struct image_answer ready;
	int ends[2], parent = getpid();
	pid_t pid;
	long result;

	make_pipes(task, ends);
	pid = fork();
	if (pid == 0) {
		end_with(parent);
		become_image(ends[0], ends[1]);
		cannot_run("a task cannot exec: %s", strerror(errno));
	}
	result = begin_process(task, pid);
	if (result == 0 && (!await_answer(task) || !read_whole(task->answers, &ready, sizeof(ready))))
		cannot_run("a task did not start");
	return result;
}

long spawn(struct session *session, const struct kvmprobe_call *call)
{
	int place = bind_task(session, call->binds);
	struct task *task = &tasks[place].task;

	served = session;
	tasks[place].relation = (int)call->argument;
	switch (tasks[place].relation) {
	case KVMPROBE_THREAD:
		return spawn_thread(task);
	case KVMPROBE_FORK:
		return spawn_fork(task);
	case KVMPROBE_SHARED_MM:
		return spawn_shared_mm(task);
	case KVMPROBE_EXEC:
		return spawn_image(task);
	}
	cannot_run("a task has the unknown relation %zu", call->argument);
}

/* The tasks answer the process that created them, and no other. */
long go_on(const struct session *session)
{
	if (session->task_names.count)
		cannot_run("a scenario with tasks cannot go on in a child");
	return go_on_in_child();
}

/* Ends the scenario's process as the task ended: by the same signal, so that the scenario counts as killed by it. */
__attribute__((noreturn)) static void end_like(const struct task *task)
{
	int status = 0;

	while (waitpid(task->pid, &status, __WALL) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		kill(getpid(), WTERMSIG(status));
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == KVMPROBE_BROKEN)
		_exit(KVMPROBE_BROKEN);		/* the task has stored the reason */
	cannot_run("a task ended with status %d", status);
}

static void read_answer(const struct task *task, void *answer, size_t size)
{
	if (!await_answer(task))
		end_like(task);
	if (!read_whole(task->answers, answer, size))
		cannot_run("a task does not answer");
}

static void send_request(const struct task *task, const void *request, size_t size)
{
	if (!write_whole(task->requests, request, size))
		end_like(task);
}

static long perform_in_image(const struct task *task, const struct kvmprobe_call *call)
{
	struct image_request request = {
		.alt_stack = call->kind == KVMPROBE_ALT_STACK,
		.code = call->request,
		.argument = call->argument,
		.by_address = call->blank != NULL,
	};
	struct image_answer answer;

	if ((call->kind != KVMPROBE_ALT_STACK && call->kind != KVMPROBE_ARCH_PRCTL) || call->size > sizeof(request.bytes))
		cannot_run("a task of the relation EXEC can only make arch_prctl, of 8 bytes, and sigaltstack");
	if (call->blank)
		memcpy(&request.bytes, call->blank, call->size);
	send_request(task, &request, sizeof(request));
	read_answer(task, &answer, sizeof(answer));
	if (call->blank)
		memcpy(call->output, &answer.bytes, call->size);
	return answer.result;
}

long perform_in_task(struct session *session, const struct kvmprobe_call *call, const struct input *input)
{
	int place = task_of(session, call->by);
	const struct task *task = &tasks[place].task;
	struct request request = { .call = call, .gate = session->gate };
	long result;

	if (tasks[place].relation == KVMPROBE_EXEC)
		return perform_in_image(task, call);
	request.copied = call->kind == KVMPROBE_CAPTURED ? input->size : 0;
	send_request(task, &request, sizeof(request));
	send_request(task, (const void *)input->argument, request.copied);
	read_answer(task, &result, sizeof(result));
	if (call->size)
		read_answer(task, call->output, call->size);
	return result;
}
