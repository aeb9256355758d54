/*
 * Outputs that the driver knows.  A scenario reports a new one with its content and a number, and stores it here, so that later
 * scenarios report the number only.  The memory is shared, since scenarios are children that end.
 */
#include <string.h>
#include <sys/mman.h>

#include "session.h"

struct known {
	uint32_t next;		/* offset in `bytes`; 0 at the end of the list */
	uint32_t number;	/* counts the outputs of a call, from 1 */
	uint32_t size;
	uint8_t output[];
};

static struct {
	uint32_t used;
	uint32_t first[MOST_CALLS];
	uint8_t bytes[KNOWN_SIZE];
} *shared;

/* Those that the scenario has not yet reported: only what the driver has received is known. */
static struct {
	unsigned int call;
	uint32_t place;
} unreported[MOST_UNREPORTED];
static int unreported_count;
static uint32_t reserved;

void share_known_outputs(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED)
		cannot_run("cannot map memory for known outputs");
	forget_outputs();
}

void forget_outputs(void)
{
	memset(shared->first, 0, sizeof(shared->first));
	shared->used = 16;	/* 0 is no offset */
}

static struct known *known_at(uint32_t place)
{
	return place ? (struct known *)(shared->bytes + place) : NULL;
}

/* Returns the number of this output of the call, or 0. */
uint32_t known_number(const struct kvmprobe_call *call)
{
	const struct known *known = known_at(shared->first[call->number]);

	while (known && (known->size != call->size || memcmp(known->output, call->output, call->size) != 0))
		known = known_at(known->next);
	return known ? known->number : 0;
}

static uint32_t next_number(const struct kvmprobe_call *call)
{
	const struct known *last = known_at(shared->first[call->number]);
	uint32_t number = last ? last->number + 1 : 1;

	for (int i = 0; i < unreported_count; i++)
		number += unreported[i].call == call->number;
	return number;
}

/* Returns the number that this output of the call will have when it has been reported; 0 if it is not to be stored. */
uint32_t new_number(const struct kvmprobe_call *call)
{
	uint32_t place = unreported_count ? reserved : shared->used, number = next_number(call);
	size_t needed = (sizeof(struct known) + call->size + 15) / 16 * 16;
	struct known *known;

	if (number > MOST_KNOWN || unreported_count == MOST_UNREPORTED || needed > KNOWN_SIZE - place)
		return 0;
	known = known_at(place);
	known->number = number;
	known->size = (uint32_t)call->size;
	memcpy(known->output, call->output, call->size);
	unreported[unreported_count].call = call->number;
	unreported[unreported_count++].place = place;
	reserved = place + (uint32_t)needed;
	return number;
}

/* The driver has received them.  A scenario may be killed between any two of these stores. */
void outputs_are_reported(void)
{
	if (!unreported_count)
		return;
	__atomic_store_n(&shared->used, reserved, __ATOMIC_SEQ_CST);
	for (int i = 0; i < unreported_count; i++) {
		uint32_t *first = &shared->first[unreported[i].call];

		known_at(unreported[i].place)->next = *first;
		__atomic_store_n(first, unreported[i].place, __ATOMIC_SEQ_CST);
	}
	unreported_count = 0;
}
