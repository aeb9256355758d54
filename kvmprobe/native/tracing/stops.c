/*
 * Follows the stops of traced threads.
 */
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <linux/ptrace.h>

#include "tracing.h"

enum { SYSCALL_STOP = SIGTRAP | 0x80, SIGNALED = 128 };

/* Calls pass from now on, so that no program ever waits for a reader. */
void stop_recording(void)
{
	struct thread *thread;

	session.recording = 0;
	for (thread = first_thread(); thread; thread = next_thread(thread))
		thread->within = 0;
	if (session.mode == ATTACHED)
		session.stop_requested = 1;
}

static void detach(struct thread *thread, int number)
{
	if (thread->within)
		end_within_call(thread);
	if (thread->tid == thread->tgid)
		report(TRACE_DETACHED, thread->tid, thread->tgid, 0, 0);
	ptrace(PTRACE_DETACH, thread->tid, 0, (long)number);
	drop_thread(thread);
}

static void resume(struct thread *thread, int number)
{
	int each_call = session.mode == ATTACHED || thread->within || thread->follow;

	if (session.detaching)
		detach(thread, number);
	else
		ptrace(session.recording && each_call ? PTRACE_SYSCALL : PTRACE_CONT, thread->tid, 0, (long)number);
}

static void at_call(struct thread *thread)
{
	struct ptrace_syscall_info info;

	if (!session.recording)
		return;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread->tid, sizeof(info), &info) <= 0) {
		if (errno == EIO) {
			report(TRACE_FAILED, thread->tid, thread->tgid, TRACE_NO_SYSCALL_INFO, errno);
			stop_recording();
		}
		return;
	}
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		if (thread->within)
			return_from_call(thread, info.exit.rval);
		thread->within = 0;
	} else if (!thread->within) {
		const uint64_t *arguments = info.op == PTRACE_SYSCALL_INFO_ENTRY ? (const uint64_t *)info.entry.args
										    : (const uint64_t *)info.seccomp.args;
		uint64_t number = info.op == PTRACE_SYSCALL_INFO_ENTRY ? info.entry.nr : info.seccomp.nr;

		thread->within = enter_call(thread, info.arch, number, arguments);
		if (!thread->within && thread->follow && !--thread->follow)
			lose_sight(thread->tgid, thread->tid);
	}
}

/* A thread or process was created; its own first stop may come before or after this. */
static void at_birth(struct thread *parent)
{
	unsigned long tid = 0;
	struct thread *child;

	if (ptrace(PTRACE_GETEVENTMSG, parent->tid, 0, &tid))
		return;
	child = thread_of(tid);
	if (!child)
		child = new_thread(tid);
	child->announced = 1;
	if (child->tgid == child->tid) {
		note_process(child->tgid, 1);
		report(TRACE_FORKED, child->tid, child->tgid, parent->tgid, 0);
	} else if (has_vcpus(child->tgid)) {
		child->follow = FOLLOW_BIRTH;
	}
	if (child->held) {
		child->held = 0;
		resume(child, 0);
	}
}

static void at_exec(struct thread *thread)
{
	static int executed;
	unsigned long former = 0;
	struct thread *caller;

	ptrace(PTRACE_GETEVENTMSG, thread->tid, 0, &former);
	caller = thread_of(former);
	if (caller && caller != thread)
		drop_thread(caller);
	thread->within = thread->follow = 0;
	forget_vcpus(thread->tgid);
	report_program(executed || session.mode == ATTACHED ? TRACE_EXECUTED : TRACE_STARTED, thread->tgid, 0);
	executed = 1;
}

static void at_stop(struct thread *thread, int status)
{
	int number = WSTOPSIG(status), event = status >> 16;

	switch (event) {
	case PTRACE_EVENT_STOP:
		if (!thread->announced) {
			thread->held = 1;
			return;
		}
		if (number != SIGTRAP && !session.detaching) {
			ptrace(PTRACE_LISTEN, thread->tid, 0, 0);
			return;
		}
		break;
	case PTRACE_EVENT_SECCOMP:
		at_call(thread);
		break;
	case PTRACE_EVENT_CLONE:
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
		at_birth(thread);
		break;
	case PTRACE_EVENT_EXEC:
		at_exec(thread);
		break;
	default:
		if (number != SYSCALL_STOP) {
			resume(thread, number);
			return;
		}
		at_call(thread);
	}
	resume(thread, 0);
}

/* Its parent may have been killed before it reported the birth. */
static void free_held(void)
{
	struct thread *thread, *next;

	for (thread = first_thread(); thread; thread = next) {
		next = next_thread(thread);
		if (thread->held) {
			thread->held = 0;
			thread->announced = 1;
			if (thread->tid == thread->tgid)
				note_process(thread->tgid, 1);
			resume(thread, 0);
		}
	}
}

static void at_end(struct thread *thread, int status)
{
	pid_t tid = thread->tid, tgid = thread->tgid;
	int number = WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status);

	if (thread->within)
		end_within_call(thread);
	forget_runner(tgid, tid);
	drop_thread(thread);
	free_held();
	if (tid != tgid)
		return;
	forget_vcpus(tgid);
	note_process(tgid, 0);
	if (tid == session.command)
		session.status = WIFEXITED(status) ? number : SIGNALED + number;
	if (tid != session.command || session.mode == ATTACHED || !exec_error())
		report(WIFEXITED(status) ? TRACE_EXITED : TRACE_KILLED, tid, tgid, number, 0);
}

/* Interrupts every thread, so that it stops and can be let go of. */
static void begin_detaching(void)
{
	struct thread *thread, *next;

	session.detaching = 1;
	for (thread = first_thread(); thread; thread = next) {
		next = next_thread(thread);
		if (thread->held)
			detach(thread, 0);
		else
			ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0);
	}
}

static void obey_request(void)
{
	if (!session.stop_requested)
		return;
	session.stop_requested = 0;
	if (session.mode == STARTED)
		stop_recording();
	else if (!session.detaching)
		begin_detaching();
}

void end_recording(void)
{
	report(TRACE_DONE, session.command, session.command, session.status, session.detaching);
	flush_events();
}

void follow_stops(void)
{
	struct thread *thread;
	int status;
	pid_t tid;

	for (;;) {
		obey_request();
		if (session.mode == ATTACHED && !first_thread())
			return;
		tid = waitpid(-1, &status, __WALL | WNOHANG);
		if (!tid) {
			flush_events();
			tid = waitpid(-1, &status, __WALL);
		}
		if (tid < 0 && errno == ECHILD)
			return;
		if (tid < 0)
			continue;
		thread = thread_of(tid);
		if (!thread && WIFSTOPPED(status))
			thread = new_thread(tid);
		if (!thread)
			continue;
		if (WIFSTOPPED(status))
			at_stop(thread, status);
		else
			at_end(thread, status);
	}
}
