/*
 * Issues a scenario's calls, in a child of the zygote.  The child writes a line for each step before the next step begins:
 *     {"n":NR,"s":STEP,"r":[[RESULT],[RESULT,NUMBER],[RESULT,NUMBER,BYTES],...],"k":["kernel message",...]}
 * NUMBER is that of a known output; 0 if this output is not to be known.  BYTES, of a new output, have the form that wire.c
 * describes.  live_changes.c and competitor.c may add members.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"

enum { LONGEST_MESSAGE = 8192 };

static void report_output(const struct kvmprobe_call *call)
{
	uint32_t number = known_number(call);
	int is_new = !number;

	if (is_new)
		number = new_number(call);
	line_raw(",");
	line_number(number);
	if (is_new) {
		line_raw(",\"");
		line_bytes(call->output, call->size);
		line_raw("\"");
	}
}

/* Appends the kernel's messages since the last time as an array. */
void line_log(int log_fd)
{
	char message[LONGEST_MESSAGE];
	int messages = 0;

	line_raw("[");
	while (kvmprobe_next_message(log_fd, message, sizeof(message))) {
		line_raw(messages++ ? ",\"" : "\"");
		line_text(message);
		line_raw("\"");
	}
	line_raw("]");
}

/* Returns the captured output, or a patched copy of it. */
static struct input find_captured(const struct session *session, const struct kvmprobe_call *call)
{
	const struct kvmprobe_call *source = captured_by(session, call->capture);
	struct input input = { (size_t)source->output, source->size };
	uint8_t *copy;

	if (!call->patch_count)
		return input;
	copy = malloc(source->size);
	if (!copy)
		cannot_run("cannot allocate %zu bytes for a captured output", source->size);
	memcpy(copy, source->output, source->size);
	input.argument = (size_t)copy;
	for (size_t i = 0; i < call->patch_count; i++) {
		const struct kvmprobe_patch *patch = &call->patches[i];

		if (patch->size > source->size || patch->offset > source->size - patch->size)
			cannot_run("a patch lies outside the captured output");
		memcpy(copy + patch->offset, patch->bytes, patch->size);
	}
	return input;
}

static long issue(struct session *session, const struct kvmprobe_call *call)
{
	struct input input = { call->argument, call->input_size };
	long result;

	if (call->kind == KVMPROBE_CAPTURED)
		input = find_captured(session, call);
	result = call->by ? perform_in_task(session, call, &input) : perform(session, call, &input);
	if (call->kind == KVMPROBE_OUTPUT && call->capture && result >= 0)
		capture(session, call);
	if (call->kind == KVMPROBE_CAPTURED && call->patch_count)
		free((void *)input.argument);
	return result;
}

/* Runs steps; `first` is the number of the first one. */
int run_scenario(struct session *session, long number, const struct kvmprobe_call **calls, size_t first, size_t steps)
{
	for (size_t step = first; step < first + steps; step++, calls++) {
		begin_step((int)step);
		line_raw("{\"n\":");
		line_number(number);
		line_raw(",\"s\":");
		line_number((long)step);
		line_raw(",\"r\":[");
		for (int position = 0; *calls; position++, calls++) {
			long result;

			begin_call(position);
			let_compete();
			result = issue(session, *calls);
			if (result == STOPPED)
				return KVMPROBE_GATED;
			meet_competitor();
			line_raw(position ? ",[" : "[");
			line_number(result);
			if ((*calls)->blank)
				report_output(*calls);
			line_raw("]");
		}
		line_raw("]");
		line_changes();
		line_rounds();
		line_raw(",\"k\":");
		line_log(session->channels.log_fd);
		line_raw("}");
		if (!line_send(&session->channels))
			cannot_run("cannot send the results of a step");
		outputs_are_reported();
	}
	return KVMPROBE_DONE;
}
