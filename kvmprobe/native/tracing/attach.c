/*
 * Attaches to processes that run already.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>

#include "tracing.h"

/* Returns 0, or an errno. */
int seize(pid_t tid)
{
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
		       PTRACE_O_TRACESECCOMP;

	return ptrace(PTRACE_SEIZE, tid, 0, options) ? errno : 0;
}

/* Returns how many threads were new; with the errno of the last one that could not be attached to. */
static int seize_new(pid_t pid, int *error)
{
	char place[32];
	struct dirent *entry;
	int found = 0;
	DIR *tasks;

	snprintf(place, sizeof(place), "/proc/%d/task", pid);
	tasks = opendir(place);
	if (!tasks) {
		*error = errno;
		return 0;
	}
	while ((entry = readdir(tasks))) {
		pid_t tid = atoi(entry->d_name);

		if (!tid || thread_of(tid))
			continue;
		*error = seize(tid);
		/* It may have been attached to with its parent. */
		if (*error)
			continue;
		new_thread(tid)->announced = 1;
		found++;
	}
	closedir(tasks);
	return found;
}

/* Attaches to all threads of a process; returns 0, or an errno if there was none. */
int seize_all(pid_t pid)
{
	int error = ESRCH, found = 0, new;

	while ((new = seize_new(pid, &error)))
		found += new;
	return found ? 0 : error;
}

void attach(pid_t pid)
{
	struct thread *thread;
	int error = seize_all(pid);

	if (error) {
		report(TRACE_FAILED, pid, pid, error == ENOENT || error == ESRCH ? TRACE_NO_PROCESS : TRACE_NO_SEIZE, error);
		flush_events();
		exit(1);
	}
	session.command = pid;
	report_program(TRACE_ATTACHED, pid, 0);
	for (thread = first_thread(); thread; thread = next_thread(thread))
		ptrace(PTRACE_INTERRUPT, thread->tid, 0, 0);
}
