/*
 * Issues a scenario's calls, in a child of the zygote.  The child writes one line a step, before the next step begins:
 *     {"n":NR,"s":STEP,"r":[[RESULT],[RESULT,OUTPUT],...],"k":["kernel message",...]}
 * OUTPUT is "*BASE64", the number of a known one, or 0: as the call's last one in this scenario.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"

enum { LONGEST_MESSAGE = 8192 };

static void say_output(struct kvmprobe_call *call)
{
	const struct kvmprobe_known *known = call->known;

	if (call->reported && memcmp(call->last, call->output, call->size) == 0) {
		say(",0");
		return;
	}
	memcpy(call->last, call->output, call->size);
	call->reported = 1;
	while (known && memcmp(known->bytes, call->output, call->size) != 0)
		known = known->next;
	if (known) {
		say(",%d", known->number);
		return;
	}
	say(",\"*");
	say_base64(call->output, call->size);
	say("\"");
}

static void say_log(int log_fd)
{
	char message[LONGEST_MESSAGE];
	int messages = 0;

	while (kvmprobe_next_message(log_fd, message, sizeof(message))) {
		say(messages++ ? ",\"" : ",\"k\":[\"");
		say_text(message);
		say("\"");
	}
	if (messages)
		say("]");
}

/* Where the captured output is, with patches over a copy of it. */
static struct input find_captured(const struct session *session, const struct kvmprobe_call *call)
{
	const struct kvmprobe_call *source = captured_by(session, call->capture);
	struct input input = { (size_t)source->output, source->size };
	uint8_t *copy;

	if (!call->patches)
		return input;
	copy = malloc(source->size);
	if (!copy)
		cannot_run("no memory for %zu bytes of a captured output", source->size);
	memcpy(copy, source->output, source->size);
	input.argument = (size_t)copy;
	for (const struct kvmprobe_patch *patch = call->patches; patch; patch = patch->next) {
		if (patch->size > source->size || patch->offset > source->size - patch->size)
			cannot_run("a patch lies outside of the captured output");
		memcpy(copy + patch->offset, patch->bytes, patch->size);
	}
	return input;
}

static long make(struct session *session, const struct kvmprobe_call *call)
{
	struct input input = { call->argument, call->input_size };
	long result;

	if (call->kind == KVMPROBE_CAPTURED)
		input = find_captured(session, call);
	result = call->by ? ask(session, call, &input) : perform(session, call, &input);
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
		say("{\"n\":%d,\"s\":%d,\"r\":[", number, step);
		for (int position = 0; *calls; position++, calls++) {
			struct kvmprobe_call *call = *calls;
			long result = make(session, call);

			if (result == STOPPED)
				return KVMPROBE_GATED;
			say("%s[%ld", position ? "," : "", result);
			if (call->output)
				say_output(call);
			say("]");
		}
		say("]");
		say_log(session->channels.log_fd);
		say("}");
		if (!end_line(&session->channels))
			cannot_run("what the kernel answered cannot be sent");
	}
	return KVMPROBE_DONE;
}
