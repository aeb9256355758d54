/* Tasks: threads and processes that make calls in the scenario's place, one at a time. */
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
	enum kvmprobe_relation relation;
} tasks[MOST_TASKS];

/* The session that a task was created in. */
static struct session *served;

/* What a task is asked; `copied` bytes of a captured output follow.  It answers with the result, then the output. */
struct errand {
	const struct kvmprobe_call *call;
	size_t copied;
	int gate;
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
	struct errand errand;

	while (read_whole(requests, &errand, sizeof(errand))) {
		struct input input = { errand.call->argument, errand.call->input_size };
		uint8_t *copied = NULL;
		long result;

		if (errand.call->kind == KVMPROBE_CAPTURED) {
			copied = new_memory(errand.copied + 1);
			input = (struct input){ (size_t)copied, errand.copied };
			if (!read_whole(requests, copied, errand.copied))
				return;
		}
		served->gate = errand.gate;
		result = perform(served, errand.call, &input);
		if (copied)
			munmap(copied, errand.copied + 1);
		if (!write_whole(answers, &result, sizeof(result))
		    || !write_whole(answers, errand.call->output, errand.call->size))
			return;
	}
}

/* Returns if that does not work. */
static void become_image(int requests, int answers)
{
	static char *const no_words[] = { NULL };
	size_t size = (size_t)(task_image_end - task_image);
	const unsigned int cloexec = 1, exec = 0x10;	/* MFD_CLOEXEC; MFD_EXEC, which Linux before 6.3 lacks */
	int fd = (int)syscall(SYS_memfd_create, "kvmprobe-task", cloexec | exec);

	if (fd < 0)
		fd = (int)syscall(SYS_memfd_create, "kvmprobe-task", cloexec);
	if (fd < 0 || !write_whole(fd, task_image, size) || dup2(requests, 0) < 0 || dup2(answers, 1) < 0)
		return;
	syscall(SYS_execveat, fd, "", no_words, no_words, 0x1000 /* AT_EMPTY_PATH */);
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
	tasks[place].relation = (enum kvmprobe_relation)call->argument;
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
	cannot_run("a task of the unknown relation %zu", call->argument);
}

/* A process that a task's death kills dies of the same signal: it is the scenario that was killed. */
__attribute__((noreturn)) static void end_as(const struct task *task)
{
	int status = 0;

	while (waitpid(task->pid, &status, __WALL) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		kill(getpid(), WTERMSIG(status));
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == KVMPROBE_BROKEN)
		_exit(KVMPROBE_BROKEN);		/* it has said why */
	cannot_run("a task has ended with status %d", status);
}

static void read_answer(const struct task *task, void *answer, size_t size)
{
	if (!await_answer(task))
		end_as(task);
	if (!read_whole(task->answers, answer, size))
		cannot_run("a task does not answer");
}

static void send_errand(const struct task *task, const void *errand, size_t size)
{
	if (!write_whole(task->requests, errand, size))
		end_as(task);
}

static long ask_image(const struct task *task, const struct kvmprobe_call *call)
{
	struct image_errand errand = {
		.alt_stack = call->kind == KVMPROBE_ALT_STACK,
		.code = call->request,
		.argument = call->argument,
		.by_address = call->output != NULL,
	};
	struct image_answer answer;

	if ((call->kind != KVMPROBE_ALT_STACK && call->kind != KVMPROBE_ARCH_PRCTL) || call->size > sizeof(errand.bytes))
		cannot_run("a program of its own can only arch_prctl, of 8 bytes, and sigaltstack");
	if (call->output)
		memcpy(&errand.bytes, call->blank, call->size);
	send_errand(task, &errand, sizeof(errand));
	read_answer(task, &answer, sizeof(answer));
	if (call->output)
		memcpy(call->output, &answer.bytes, call->size);
	return answer.result;
}

long ask(struct session *session, const struct kvmprobe_call *call, const struct input *input)
{
	int place = task_of(session, call->by);
	const struct task *task = &tasks[place].task;
	struct errand errand = { .call = call, .gate = session->gate };
	long result;

	if (tasks[place].relation == KVMPROBE_EXEC)
		return ask_image(task, call);
	errand.copied = call->kind == KVMPROBE_CAPTURED ? input->size : 0;
	send_errand(task, &errand, sizeof(errand));
	send_errand(task, (const void *)input->argument, errand.copied);
	read_answer(task, &result, sizeof(result));
	if (call->size)
		read_answer(task, call->output, call->size);
	return result;
}
