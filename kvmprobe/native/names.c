/* Turns the names in a document into indices.  Only this file does; a wrong name ends the scenario as BROKEN. */
#include <string.h>

#include "session.h"

static int find(const struct names *names, const char *name)
{
	for (int place = 0; place < names->count; place++)
		if (strcmp(names->bound[place], name) == 0)
			return place;
	return -1;
}

static int place_of(const struct names *names, const char *name)
{
	int place;

	if (!name)
		cannot_run("a call has no name of a %s", names->kind);
	place = find(names, name);
	if (place < 0)
		cannot_run("there is no %s named %s: no earlier call has bound this name", names->kind, name);
	return place;
}

static int bind_name(struct names *names, const char *name)
{
	int place;

	if (!name)
		cannot_run("a call binds a %s without a name", names->kind);
	place = find(names, name);
	if (place >= 0)
		return place;
	if (names->count == names->most)
		cannot_run("cannot bind %s: there are already %d names of a %s", name, names->most, names->kind);
	names->bound[names->count] = name;
	return names->count++;
}

struct descriptor *descriptor_of(struct session *session, const struct kvmprobe_call *call)
{
	return &session->descriptors[place_of(&session->descriptor_names, call->on)];
}

/* Returns the descriptor of a vCPU, on which KVM_RUN can be issued. */
struct descriptor *vcpu_of(struct session *session, const struct kvmprobe_call *call)
{
	struct descriptor *vcpu = descriptor_of(session, call);

	if (!vcpu->run_area)
		cannot_run("KVM_RUN on %s, which has no run area", call->on);
	return vcpu;
}

struct descriptor *bind_descriptor(struct session *session, const char *name, int fd)
{
	struct descriptor *bound = &session->descriptors[bind_name(&session->descriptor_names, name)];

	*bound = (struct descriptor){ .fd = fd };
	return bound;
}

uint8_t **memory_of(struct session *session, const char *name)
{
	return &session->memories[place_of(&session->memory_names, name)];
}

uint8_t **bind_memory(struct session *session, const char *name)
{
	return &session->memories[bind_name(&session->memory_names, name)];
}

int task_of(const struct session *session, const char *name)
{
	return place_of(&session->task_names, name);
}

int bind_task(struct session *session, const char *name)
{
	return bind_name(&session->task_names, name);
}

void capture(struct session *session, const struct kvmprobe_call *call)
{
	session->captures[bind_name(&session->capture_names, call->capture)] = call;
}

const struct kvmprobe_call *captured_by(const struct session *session, const char *name)
{
	return session->captures[place_of(&session->capture_names, name)];
}
