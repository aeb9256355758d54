/*
 * What calls with live registers (live.c) changed in them.  The line of a step reports it as
 *     "h":[[POSITION,OFFSET,"EXPECTED","OBSERVED"],...]
 * POSITION is that of the call in the step, OFFSET that of the first byte that differs in a standard-format image; the bytes
 * from there on are hexadecimal.  PKRU has the place that it has in an image.  A line without "h" reports no change.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "live.h"
#include "session.h"

enum { MOST_CHANGES = 32, SHOWN = 16 };

struct change {
	int position;
	size_t offset, size;
	uint8_t expected[SHOWN], observed[SHOWN];
};

/* The scenario's process and its tasks, of which one at a time makes a call. */
static struct {
	int position;
	int count;
	struct change changes[MOST_CHANGES];
} *shared;

void share_changes(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		cannot_run("cannot map shared memory for registers that change");
}

/* The calls that follow are the one at this position in its step. */
void begin_call(int position)
{
	if (shared)
		shared->position = position;
}

static void note(size_t offset, const uint8_t *expected, const uint8_t *observed, size_t size)
{
	struct change *change = &shared->changes[shared->count];

	if (shared->count == MOST_CHANGES)
		return;
	shared->count++;
	change->position = shared->position;
	change->offset = offset;
	change->size = size < SHOWN ? size : SHOWN;
	memcpy(change->expected, expected, change->size);
	memcpy(change->observed, observed, change->size);
}

/* Notes the first byte of a part of the images that differs, and those that follow it. */
static void compare(const struct live_call *call, size_t start, size_t end)
{
	const uint8_t *expected = call->loaded, *observed = call->after;

	while (start < end && expected[start] == observed[start])
		start++;
	if (start < end)
		note(start, expected + start, observed + start, end - start);
}

/*
 * The x87 pointers must be as XSAVE stored them before the call: AMD processors restore and store them with a pending exception
 * only.  XSTATE_BV may have either value for a component in INIT: SDM vol.1 §13.6.
 */
void note_changes(const struct live_call *call)
{
	memcpy(call->loaded + FP_POINTERS, call->before + FP_POINTERS, MXCSR - FP_POINTERS);
	compare(call, 0, MXCSR);
	compare(call, MXCSR, MXCSR_MASK);
	compare(call, X87_REGISTERS, XMM_REGISTERS);
	compare(call, XMM_REGISTERS, XMM_END);
	for (unsigned int nr = 2; nr < COMPONENTS; nr++)
		if (call->mask >> nr & 1) {
			const struct place *place = place_of_component(nr);

			compare(call, place->offset, place->offset + place->size);
		}
	if (call->has_pkru && call->seen_pkru != call->pkru)
		note(place_of_component(PKRU_NR)->offset, (const uint8_t *)&call->pkru, (const uint8_t *)&call->seen_pkru,
		     sizeof(call->pkru));
}

static void line_hex(const uint8_t *bytes, size_t size)
{
	char text[2 * SHOWN + 1] = "";

	for (size_t i = 0; i < size; i++) {
		text[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		text[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
	}
	line_raw(",\"");
	line_raw(text);
	line_raw("\"");
}

/* Appends what the calls of a step changed, if they changed anything, and forgets it. */
void line_changes(void)
{
	int count = shared ? shared->count : 0;

	for (int i = 0; i < count; i++) {
		const struct change *change = &shared->changes[i];

		line_raw(i ? ",[" : ",\"h\":[[");
		line_number(change->position);
		line_raw(",");
		line_number((long)change->offset);
		line_hex(change->expected, change->size);
		line_hex(change->observed, change->size);
		line_raw("]");
	}
	if (count) {
		line_raw("]");
		shared->count = 0;
	}
}
