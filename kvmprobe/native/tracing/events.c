/*
 * Events: a head and parts.  They are kept until the traced threads run again, so that no thread waits for the pipe.  When
 * nobody reads it any more, recording ends.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracing.h"

struct __attribute__((packed)) head {
	uint32_t size, kind;
	uint64_t began, ended;
	int32_t tid, tgid, fd;
	uint32_t number;
	uint64_t argument;
	int64_t result;
};

struct __attribute__((packed)) part {
	uint32_t role, size, wanted;
	int32_t error;
};

enum { MOST_KEPT = 1 << 18 };

static int pipe_fd;
static struct buffer kept;

void open_events(int fd)
{
	pipe_fd = fd;
}

static void *grow(struct buffer *event, size_t size)
{
	uint8_t *place;

	if (event->used + size > event->room) {
		event->room = 2 * (event->used + size);
		event->bytes = realloc(event->bytes, event->room);
		if (!event->bytes)
			abort();
	}
	place = event->bytes + event->used;
	event->used += size;
	return place;
}

void begin_event(struct buffer *event, uint32_t kind, pid_t tid, pid_t tgid)
{
	struct head *head;

	event->used = 0;
	head = grow(event, sizeof(*head));
	memset(head, 0, sizeof(*head));
	head->kind = kind;
	head->tid = tid;
	head->tgid = tgid;
}

void add_part(struct buffer *event, uint32_t role, const void *bytes, size_t size, size_t wanted, int error)
{
	struct part part = { role, size, wanted, error };

	memcpy(grow(event, sizeof(part)), &part, sizeof(part));
	memcpy(grow(event, size), bytes, size);
}

/* Writes the events that are kept. */
void flush_events(void)
{
	size_t done = 0;
	ssize_t written;

	while (session.recording && done < kept.used) {
		written = write(pipe_fd, kept.bytes + done, kept.used - done);
		if (written > 0)
			done += written;
		else if (errno != EINTR)
			stop_recording();
	}
	kept.used = 0;
}

static void keep(const struct buffer *event)
{
	memcpy(grow(&kept, event->used), event->bytes, event->used);
	if (kept.used > MOST_KEPT)
		flush_events();
}

void finish_event(struct buffer *event, uint64_t began, int fd, uint32_t number, uint64_t argument, int64_t result)
{
	struct head *head = (struct head *)event->bytes;

	head->size = event->used;
	head->ended = ++session.order;
	head->began = began ? began : head->ended;
	head->fd = fd;
	head->number = number;
	head->argument = argument;
	head->result = result;
	keep(event);
	event->used = 0;
}

void report(uint32_t kind, pid_t tid, pid_t tgid, uint32_t number, uint64_t argument)
{
	static struct buffer event;

	begin_event(&event, kind, tid, tgid);
	finish_event(&event, 0, -1, number, argument, 0);
}

void report_program(uint32_t kind, pid_t tgid, uint32_t number)
{
	static struct buffer event;
	char place[32], program[PATH_MAX];
	ssize_t length;

	snprintf(place, sizeof(place), "/proc/%d/exe", tgid);
	length = readlink(place, program, sizeof(program));
	begin_event(&event, kind, tgid, tgid);
	if (length >= 0)
		add_part(&event, TRACE_PROGRAM, program, length, length, 0);
	finish_event(&event, 0, -1, number, 0, 0);
}
