/* Copies of a scenario's calls, with outputs, in memory of the scenario's own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "session.h"
#include "shared/process.h"

enum { CACHE_LINE = 64 };

/* The different calls of the scenario. */
static const struct kvmprobe_call *different[MOST_ADDRESSES];
static size_t different_count;

static size_t place_of(const struct kvmprobe_call *call)
{
	size_t place = 0;

	while (place < different_count && different[place] != call)
		place++;
	return place;
}

static size_t rounded(size_t size)
{
	return (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
}

static void place_at_page_end(struct kvmprobe_call *copy)
{
	if (copy->blank)
		copy->output = at_page_end(copy->size);
	else
		copy->argument = (size_t)memcpy(at_page_end(copy->input_size), (const void *)copy->argument, copy->input_size);
}

/* Replaces each call by a copy; a NULL stays. */
void make_local(const struct kvmprobe_call **calls, size_t count)
{
	size_t outputs = 0;
	struct kvmprobe_call *copies;
	uint8_t *output;

	for (size_t i = 0; i < count; i++)
		if (calls[i] && place_of(calls[i]) == different_count) {
			different[different_count++] = calls[i];
			outputs += rounded(calls[i]->size);
		}
	copies = (struct kvmprobe_call *)new_memory(rounded(different_count * sizeof(*copies)) + outputs + 1);
	output = (uint8_t *)copies + rounded(different_count * sizeof(*copies));
	for (size_t i = 0; i < count; i++)
		if (calls[i])
			calls[i] = &copies[place_of(calls[i])];
	for (size_t i = 0; i < different_count; i++) {
		copies[i] = *different[i];
		copies[i].output = output;
		output += rounded(copies[i].size);
		if (copies[i].at_page_end)
			place_at_page_end(&copies[i]);
	}
}
