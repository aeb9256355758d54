/*
 * Reads what a call moves from the traced process.  Guest memory is not among it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tracing.h"

enum { PAGE = 4096, MOST_PIECES = TRACE_MOST_PAYLOAD / PAGE + 2, REGISTER_SIZE_SHIFT = 52, REGISTER_SIZE_MASK = 15 };

/* Returns how many bytes could be read; fewer than size if a page is not accessible, with the errno. */
size_t read_memory(pid_t tgid, uint64_t address, void *bytes, size_t size, int *error)
{
	struct iovec local = { bytes, size }, remote[MOST_PIECES] = { { 0 } };
	size_t pieces = 0, planned = 0;
	ssize_t done;

	/* A piece is read whole or not at all. */
	while (planned < size) {
		size_t piece = PAGE - (address + planned) % PAGE;

		if (piece > size - planned)
			piece = size - planned;
		remote[pieces++] = (struct iovec){ (void *)(uintptr_t)(address + planned), piece };
		planned += piece;
	}
	*error = 0;
	done = process_vm_readv(tgid, &local, 1, remote, pieces, 0);
	if (done < 0) {
		*error = errno;
		return 0;
	}
	if ((size_t)done < size)
		*error = EFAULT;
	return done;
}

static void add_memory(struct buffer *event, pid_t tgid, uint32_t role, uint64_t address, uint64_t wanted)
{
	static uint8_t bytes[TRACE_MOST_PAYLOAD];
	size_t size = wanted > sizeof(bytes) ? sizeof(bytes) : wanted;
	int error;

	if (size)
		size = read_memory(tgid, address, bytes, size, &error);
	else
		error = 0;
	add_part(event, role, bytes, size, wanted > UINT32_MAX ? UINT32_MAX : wanted, error);
}

static uint64_t size_of(pid_t tgid, const struct rule *rule, const struct call *call, uint32_t *count)
{
	uint64_t entries = 0;
	uint32_t total = 0;
	int error;

	if (rule->image)
		return session.image_size;
	if (rule->size_at) {
		read_memory(tgid, call->argument + rule->size_at, &total, sizeof(total), &error);
		return total > rule->size ? total : rule->size;
	}
	if (rule->entry)
		read_memory(tgid, call->argument, &entries, rule->count_width, &error);
	*count = entries > UINT32_MAX ? UINT32_MAX : entries;
	return rule->size + (uint64_t)*count * rule->entry;
}

/* Of a table, no more entries than there was room for. */
void add_structure(struct buffer *event, pid_t tgid, struct call *call, int returned)
{
	const struct rule *rule = &call->rule;
	uint32_t count = 0;
	uint64_t size;

	if (!rule->size && !rule->image)
		return;
	size = size_of(tgid, rule, call, &count);
	if (!returned) {
		call->count = count;
		if (rule->sent)
			add_memory(event, tgid, TRACE_SENT, call->argument, size);
	} else if (rule->got) {
		if (count > call->count)
			size = rule->size + (uint64_t)call->count * rule->entry;
		add_memory(event, tgid, TRACE_GOT, call->argument, size);
	}
}

void add_value(struct buffer *event, pid_t tgid, const struct call *call, int returned)
{
	const struct rule *rule = &call->rule;
	uint64_t pointer, id;
	size_t size = rule->value;
	int error;

	if (!rule->pointer_at || rule->value_sent == (uint32_t)returned)
		return;
	if (read_memory(tgid, call->argument + rule->pointer_at, &pointer, sizeof(pointer), &error) != sizeof(pointer) ||
	    read_memory(tgid, call->argument, &id, sizeof(id), &error) != sizeof(id))
		return;
	if (!size)
		size = 1u << (id >> REGISTER_SIZE_SHIFT & REGISTER_SIZE_MASK);
	add_memory(event, tgid, returned ? TRACE_GOT_VALUE : TRACE_SENT_VALUE, pointer, size);
}

/* Returns 0, or an errno. */
int link_of(pid_t tgid, int fd, char *text, size_t size)
{
	char place[48];
	ssize_t length;

	snprintf(place, sizeof(place), "/proc/%d/fd/%d", tgid, fd);
	length = readlink(place, text, size - 1);
	text[length < 0 ? 0 : length] = 0;
	return length < 0 ? errno : 0;
}
