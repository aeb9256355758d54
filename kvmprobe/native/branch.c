/*
 * A scenario whose process waits behind its last step, so that the emulator can fork the machine there.  It writes
 *     {"waiting":NR}
 * and reads a line with the calls of further steps, as in a request to run a scenario; an empty line ends it.  The zygote does
 * not read meanwhile.
 */
#include <string.h>

#include "session.h"

enum { LONGEST_LINE = 1 << 16 };

/* Returns the line without its newline; NULL at the end of the input. */
static const char *next_steps(const struct channels *channels)
{
	static char line[LONGEST_LINE];
	size_t size = port_line(channels->port, line, sizeof(line));

	if (!size)
		return NULL;
	if (line[size - 1] != '\n')
		cannot_run("a line of steps is longer than %d bytes", LONGEST_LINE);
	line[size - 1] = 0;
	return line;
}

static void report_waiting(const struct session *session, long number)
{
	line_raw("{\"waiting\":");
	line_number(number);
	line_raw("}");
	line_send(&session->channels);
}

int run_branch(struct session *session, long number, const struct kvmprobe_call **calls, size_t steps)
{
	size_t done = 0, count;
	const char *line;
	int ended;

	if (!session->channels.port)
		cannot_run("only a machine of the emulator can wait behind a step");
	while ((ended = run_scenario(session, number, calls, done, steps)) == KVMPROBE_DONE) {
		done += steps;
		report_waiting(session, number);
		line = next_steps(&session->channels);
		if (!line || !*line)
			break;
		steps = read_steps(line, calls, &count);
		make_local(calls, count);
	}
	return ended;
}
