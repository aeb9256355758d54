/*
 * Issues a scenario's calls, in a child of the zygote.  The child writes a line for each step before the next step begins:
 *     {"n":NR,"s":STEP,"r":[[RESULT],[RESULT,OUTPUT],...],"k":["kernel message",...]}
 * OUTPUT is "*BASE64", the number of a known output, or 0 for the same output as the call's previous one in this scenario.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"

enum { LONGEST_MESSAGE = 8192 };

static void report_output(struct kvmprobe_call *call)
{
	const struct kvmprobe_known *known = call->known;

	if (call->reported && memcmp(call->last, call->output, call->size) == 0) {
		line_printf(",0");
		return;
	}
	memcpy(call->last, call->output, call->size);
	call->reported = 1;
	while (known && memcmp(known->bytes, call->output, call->size) != 0)
		known = known->next;
	if (known) {
		line_printf(",%d", known->number);
		return;
	}
	line_printf(",\"*");
	line_base64(call->output, call->size);
	line_printf("\"");
}

static void report_log(int log_fd)
{
	char message[LONGEST_MESSAGE];
	int messages = 0;

	while (kvmprobe_next_message(log_fd, message, sizeof(message))) {
		line_printf(messages++ ? ",\"" : ",\"k\":[\"");
		line_text(message);
		line_printf("\"");
	}
	if (messages)
		line_printf("]");
}

/* Returns the captured output, or a patched copy of it. */
static struct input find_captured(const struct session *session, const struct kvmprobe_call *call)
{
	const struct kvmprobe_call *source = captured_by(session, call->capture);
	struct input input = { (size_t)source->output, source->size };
	uint8_t *copy;

	if (!call->patches)
		return input;
	copy = malloc(source->size);
	if (!copy)
		cannot_run("cannot allocate %zu bytes for a captured output", source->size);
	memcpy(copy, source->output, source->size);
	input.argument = (size_t)copy;
	for (const struct kvmprobe_patch *patch = call->patches; patch; patch = patch->next) {
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
	if (call->patches)
		free((void *)input.argument);
	return result;
}

enum kvmprobe_end run_scenario(struct session *session, int number, struct kvmprobe_call **calls, int steps)
{
	for (int step = 0; step < steps; step++, calls++) {
		begin_step(step);
		line_printf("{\"n\":%d,\"s\":%d,\"r\":[", number, step);
		for (int position = 0; *calls; position++, calls++) {
			struct kvmprobe_call *call = *calls;
			long result = issue(session, call);

			if (result == STOPPED)
				return KVMPROBE_GATED;
			line_printf("%s[%ld", position ? "," : "", result);
			if (call->output)
				report_output(call);
			line_printf("]");
		}
		line_printf("]");
		report_log(session->channels.log_fd);
		line_printf("}");
		if (!line_send(&session->channels))
			cannot_run("cannot send the results of a step");
	}
	return KVMPROBE_DONE;
}
