/*
 * A call of a traced thread, from its entry to its return.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "../shared/fallbacks.h"
#include "tracing.h"

enum { LONGEST_LINK = 256 };

static const char vcpu_link[] = "anon_inode:kvm-vcpu:";

static int of_kvm(uint64_t request)
{
	return _IOC_TYPE((uint32_t)request) == KVMIO;
}

static void enter_ioctl(struct thread *thread, const uint64_t *arguments)
{
	struct call *call = &thread->call;
	struct buffer *event = &thread->event;
	char link[LONGEST_LINK];
	int error;

	*call = (struct call){
		.kind = (uint32_t)arguments[1] == KVM_RUN ? TRACE_RAN : TRACE_CALLED,
		.fd = arguments[0],
		.number = (uint32_t)arguments[1],
		.argument = arguments[2],
		.by_itself = 1,
	};
	if (call->kind == TRACE_RAN) {
		call->by_itself = vcpu_of(thread->tgid, call->fd)->changed;
		if (!call->by_itself)
			return;
	}
	error = link_of(thread->tgid, call->fd, link, sizeof(link));
	call->on_vcpu = !strncmp(link, vcpu_link, strlen(vcpu_link));
	if (call->on_vcpu)
		report_runs(vcpu_of(thread->tgid, call->fd), thread->tid);
	call->began = ++session.order;
	begin_event(event, call->kind, thread->tid, thread->tgid);
	add_part(event, TRACE_LINK, link, strlen(link), strlen(link), error);
	if (call->kind == TRACE_RAN) {
		find_area(call, thread->tgid, link);
		add_area(event, thread->tgid, call, TRACE_SENT);
		return;
	}
	call->rule = rule_of(call->number);
	add_structure(event, thread->tgid, call, 0);
	add_value(event, thread->tgid, call, 0);
}

static void enter_permission(struct thread *thread, const uint64_t *arguments)
{
	thread->call = (struct call){
		.kind = TRACE_PERMISSION,
		.fd = -1,
		.number = arguments[0],
		.argument = arguments[1],
		.began = ++session.order,
		.by_itself = 1,
	};
	begin_event(&thread->event, TRACE_PERMISSION, thread->tid, thread->tgid);
}

/* Returns 1 if the call's return is wanted as well. */
int enter_call(struct thread *thread, uint32_t arch, uint64_t number, const uint64_t *arguments)
{
	if (arch != AUDIT_ARCH_X86_64 || number & X32) {
		if ((number == I386_IOCTL || number == (X32 | X32_IOCTL)) && of_kvm(arguments[1]))
			report(TRACE_UNREAD, thread->tid, thread->tgid, TRACE_FOREIGN_ABI, 0);
		return 0;
	}
	if (number == SYS_ioctl && of_kvm(arguments[1]))
		enter_ioctl(thread, arguments);
	else if (number == SYS_arch_prctl && arguments[0] >= ARCH_GET_XCOMP_SUPP && arguments[0] <= ARCH_REQ_XCOMP_GUEST_PERM)
		enter_permission(thread, arguments);
	else
		return 0;
	return 1;
}

static void finish(struct thread *thread, int64_t result)
{
	const struct call *call = &thread->call;

	finish_event(&thread->event, call->began, call->fd, call->number, call->argument, result);
}

static void return_from_run(struct thread *thread, struct vcpu *vcpu, int64_t result)
{
	vcpu->runner = thread->tid;
	if (!thread->call.by_itself) {
		vcpu->runs++;
		if (thread->follow && !--thread->follow)
			lose_sight(thread->tgid, thread->tid);
		return;
	}
	vcpu->changed = vcpu->unseen = 0;
	thread->follow = FOLLOW_RUN;
	add_area(&thread->event, thread->tgid, &thread->call, TRACE_GOT);
	finish(thread, result);
}

static void grow_image(uint32_t size)
{
	if (size > session.image_size && size <= TRACE_MOST_PAYLOAD)
		session.image_size = size;
}

static void return_from_ioctl(struct thread *thread, int64_t result)
{
	struct call *call = &thread->call;
	struct vcpu *vcpu;

	if (result >= 0 || result == -E2BIG)
		add_structure(&thread->event, thread->tgid, call, 1);
	if (result >= 0)
		add_value(&thread->event, thread->tgid, call, 1);
	if (call->number == KVM_CHECK_EXTENSION && call->argument == KVM_CAP_XSAVE2 && result > 0)
		grow_image(result);
	if (call->number == KVM_CREATE_VCPU && result >= 0) {
		renew_vcpu(thread->tgid, result);
		thread->follow = FOLLOW_CALL;
	}
	if (call->on_vcpu) {
		vcpu = vcpu_of(thread->tgid, call->fd);
		vcpu->changed = 1;
		if (!vcpu->runner || vcpu->runner == thread->tid)
			vcpu->unseen = 0;
		thread->follow = FOLLOW_CALL;
	}
	finish(thread, result);
}

static void return_from_permission(struct thread *thread, int64_t result)
{
	const struct call *call = &thread->call;
	uint64_t bitmap;
	size_t size;
	int error;

	if (call->number == ARCH_REQ_XCOMP_GUEST_PERM && !result)
		grow_image(session.image_size_permitted);
	if (call->number != ARCH_REQ_XCOMP_PERM && call->number != ARCH_REQ_XCOMP_GUEST_PERM && !result) {
		size = read_memory(thread->tgid, call->argument, &bitmap, sizeof(bitmap), &error);
		add_part(&thread->event, TRACE_GOT, &bitmap, size, sizeof(bitmap), error);
	}
	finish(thread, result);
}

void return_from_call(struct thread *thread, int64_t result)
{
	switch (thread->call.kind) {
	case TRACE_RAN:
		return_from_run(thread, vcpu_of(thread->tgid, thread->call.fd), result);
		break;
	case TRACE_CALLED:
		return_from_ioctl(thread, result);
		break;
	default:
		return_from_permission(thread, result);
	}
}

void end_within_call(struct thread *thread)
{
	if (thread->call.by_itself)
		finish(thread, TRACE_NOT_RETURNED);
}
