/*
 * The vCPUs of the traced processes, by descriptor: whether a call came since the last KVM_RUN, and how many KVM_RUNs were seen.
 */
#include <stdlib.h>

#include "tracing.h"

static struct vcpu *vcpus;

/* Makes one if it is new. */
struct vcpu *vcpu_of(pid_t tgid, int fd)
{
	struct vcpu *vcpu;

	for (vcpu = vcpus; vcpu; vcpu = vcpu->next)
		if (vcpu->tgid == tgid && vcpu->fd == fd)
			return vcpu;
	vcpu = calloc(1, sizeof(*vcpu));
	if (!vcpu)
		abort();
	vcpu->tgid = tgid;
	vcpu->fd = fd;
	/* Its first KVM_RUN is recorded by itself. */
	vcpu->changed = 1;
	vcpu->next = vcpus;
	return vcpus = vcpu;
}

int has_vcpus(pid_t tgid)
{
	struct vcpu *vcpu;

	for (vcpu = vcpus; vcpu; vcpu = vcpu->next)
		if (vcpu->tgid == tgid)
			return 1;
	return 0;
}

void forget_vcpus(pid_t tgid)
{
	struct vcpu **place = &vcpus, *vcpu;

	while ((vcpu = *place)) {
		if (vcpu->tgid == tgid) {
			*place = vcpu->next;
			free(vcpu);
		} else {
			place = &vcpu->next;
		}
	}
}

/* A descriptor is a new vCPU's. */
void renew_vcpu(pid_t tgid, int fd)
{
	struct vcpu *vcpu = vcpu_of(tgid, fd), *next = vcpu->next;

	*vcpu = (struct vcpu){ .tgid = tgid, .fd = fd, .changed = 1, .next = next };
}

/* A thread is not followed any more: its KVM_RUNs are not seen until its next call. */
void lose_sight(pid_t tgid, pid_t runner)
{
	struct vcpu *vcpu;

	for (vcpu = vcpus; vcpu && session.mode == STARTED; vcpu = vcpu->next)
		if (vcpu->tgid == tgid && vcpu->runner == runner)
			vcpu->unseen = 1;
}

void forget_runner(pid_t tgid, pid_t runner)
{
	struct vcpu *vcpu;

	for (vcpu = vcpus; vcpu; vcpu = vcpu->next)
		if (vcpu->tgid == tgid && vcpu->runner == runner)
			vcpu->runner = 0;
}

/* Reports the KVM_RUNs since the last line about the vCPU. */
void report_runs(struct vcpu *vcpu, pid_t tid)
{
	static struct buffer event;

	if (!vcpu->runs && !vcpu->unseen)
		return;
	begin_event(&event, TRACE_RUNS, tid, vcpu->tgid);
	finish_event(&event, 0, vcpu->fd, vcpu->unseen, vcpu->runs, 0);
	vcpu->runs = 0;
}
