/*
 * What changed in registers that were live during a call (live.c).  The line of a step reports it as
 *     "h":[[POSITION,OFFSET,"EXPECTED","OBSERVED"],...]
 * for the calling thread and, with "o", for the task that competes (competitor.c).  POSITION is that of the call in the step,
 * OFFSET that of the first byte that differs in a standard-format image; the bytes from there on are hexadecimal.  PKRU has the
 * place that it has in an image.  A line without these members reports no change.
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

static const char *const members[OWNERS] = { [OF_CALLER] = ",\"h\":[[", [OF_COMPETITOR] = ",\"o\":[[" };

/* The scenario's process and its tasks, of which one at a time makes a call, and the task that competes. */
static struct {
	int position;
	struct {
		int count, reported;
		struct change changes[MOST_CHANGES];
	} of[OWNERS];
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

static void note(enum owner whose, size_t offset, const uint8_t *expected, const uint8_t *observed, size_t size)
{
	struct change *change = &shared->of[whose].changes[shared->of[whose].count];

	if (shared->of[whose].count == MOST_CHANGES)
		return;
	shared->of[whose].count++;
	change->position = shared->position;
	change->offset = offset;
	change->size = size < SHOWN ? size : SHOWN;
	memcpy(change->expected, expected, change->size);
	memcpy(change->observed, observed, change->size);
}

/* Notes the first byte of a part of the images that differs, and those that follow it. */
static void compare(const struct live_call *call, enum owner whose, size_t start, size_t end)
{
	const uint8_t *expected = call->loaded, *observed = call->after;

	while (start < end && expected[start] == observed[start])
		start++;
	if (start < end)
		note(whose, start, expected + start, observed + start, end - start);
}

/*
 * The x87 pointers must be as XSAVE stored them before the call: AMD processors restore and store them with a pending exception
 * only.  XSTATE_BV may have either value for a component in INIT: SDM vol.1 §13.6.
 */
void note_changes(const struct live_call *call, enum owner whose)
{
	memcpy(call->loaded + FP_POINTERS, call->before + FP_POINTERS, MXCSR - FP_POINTERS);
	compare(call, whose, 0, MXCSR);
	compare(call, whose, MXCSR, MXCSR_MASK);
	compare(call, whose, X87_REGISTERS, XMM_REGISTERS);
	compare(call, whose, XMM_REGISTERS, XMM_END);
	for (unsigned int nr = 2; nr < COMPONENTS; nr++)
		if (call->mask >> nr & 1) {
			const struct place *place = place_of_component(nr);

			compare(call, whose, place->offset, place->offset + place->size);
		}
	if (call->has_pkru && call->seen_pkru != call->pkru)
		note(whose, place_of_component(PKRU_NR)->offset, (const uint8_t *)&call->pkru,
		     (const uint8_t *)&call->seen_pkru, sizeof(call->pkru));
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

static void line_changes_of(enum owner whose)
{
	int first = shared->of[whose].reported, end = shared->of[whose].count;

	for (int i = first; i < end; i++) {
		const struct change *change = &shared->of[whose].changes[i];

		line_raw(i > first ? ",[" : members[whose]);
		line_number(change->position);
		line_raw(",");
		line_number((long)change->offset);
		line_hex(change->expected, change->size);
		line_hex(change->observed, change->size);
		line_raw("]");
	}
	if (end > first)
		line_raw("]");
	shared->of[whose].reported = end;
}

/* Appends what changed during the calls of a step, if anything did. */
void line_changes(void)
{
	for (int whose = 0; shared && whose < OWNERS; whose++)
		line_changes_of((enum owner)whose);
}
