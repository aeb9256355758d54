/*
 * The traced threads, and the processes that they belong to.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tracing.h"

enum { CHAINS = 1024 };

static struct thread *chains[CHAINS];

struct thread *thread_of(pid_t tid)
{
	struct thread *thread = chains[tid % CHAINS];

	while (thread && thread->tid != tid)
		thread = thread->next;
	return thread;
}

struct thread *new_thread(pid_t tid)
{
	struct thread *thread = calloc(1, sizeof(*thread));

	if (!thread)
		abort();
	thread->tid = tid;
	thread->tgid = tgid_of(tid);
	thread->next = chains[tid % CHAINS];
	return chains[tid % CHAINS] = thread;
}

void drop_thread(struct thread *thread)
{
	struct thread **place = &chains[thread->tid % CHAINS];

	while (*place != thread)
		place = &(*place)->next;
	*place = thread->next;
	free(thread->event.bytes);
	free(thread);
}

static struct thread *first_from(int chain)
{
	for (; chain < CHAINS; chain++)
		if (chains[chain])
			return chains[chain];
	return NULL;
}

struct thread *first_thread(void)
{
	return first_from(0);
}

struct thread *next_thread(struct thread *thread)
{
	return thread->next ? thread->next : first_from(thread->tid % CHAINS + 1);
}

/* Returns the thread's own id if it has ended. */
pid_t tgid_of(pid_t tid)
{
	char place[32], line[128];
	pid_t tgid = tid;
	FILE *status;

	snprintf(place, sizeof(place), "/proc/%d/status", tid);
	status = fopen(place, "re");
	if (!status)
		return tid;
	while (fgets(line, sizeof(line), status))
		if (sscanf(line, "Tgid: %d", &tgid) == 1)
			break;
	fclose(status);
	return tgid;
}

/* Tells the guard which processes it would have to go on with. */
void note_process(pid_t tgid, int present)
{
	pid_t wanted = present ? 0 : tgid;
	size_t i;

	for (i = 0; session.traced && i < TRACED_MOST; i++)
		if (session.traced[i] == wanted) {
			session.traced[i] = present ? tgid : 0;
			return;
		}
}
