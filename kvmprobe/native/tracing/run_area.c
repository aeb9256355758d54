/*
 * struct kvm_run of a vCPU, in the memory of the traced process.
 */
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tracing.h"

enum { LONGEST_LINE = 4608 };

/* Finds where the vCPU is mapped, by the name that /proc/PID/maps shows. */
void find_area(struct call *call, pid_t tgid, const char *link)
{
	char place[32], line[LONGEST_LINE];
	FILE *maps;

	call->area = 0;
	call->area_error = TRACE_NOT_MAPPED;
	snprintf(place, sizeof(place), "/proc/%d/maps", tgid);
	maps = fopen(place, "re");
	if (!maps)
		return;
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, offset;
		int name = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%lx-%*x %*s %lx %*s %*s %n", &start, &offset, &name) != 2 || !name || offset ||
		    strcmp(line + name, link))
			continue;
		call->area_error = call->area ? TRACE_MAPPED_TWICE : 0;
		call->area = start;
	}
	fclose(maps);
}

/* The registers follow if the program shares them with the kernel. */
void add_area(struct buffer *event, pid_t tgid, const struct call *call, uint32_t role)
{
	struct kvm_run area;
	size_t size = offsetof(struct kvm_run, s), read;
	uint64_t shared;
	int error;

	if (call->area_error) {
		add_part(event, role, "", 0, size, call->area_error);
		return;
	}
	read = read_memory(tgid, call->area, &area, offsetof(struct kvm_run, s) + sizeof(struct kvm_sync_regs), &error);
	shared = role == TRACE_SENT ? area.kvm_dirty_regs : area.kvm_valid_regs;
	if (read > size && shared)
		size += sizeof(struct kvm_sync_regs);
	if (read > size)
		read = size;
	add_part(event, role, &area, read, size, error);
}
