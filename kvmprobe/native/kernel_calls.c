/* Issues one call, in the scenario's process or in one of its tasks. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "session.h"

#define ioctl(fd, request, argument) kernel_ioctl(fd, request, (size_t)(argument))
#include "shared/bytes.h"
#include "shared/process.h"
#include "shared/during_run.h"
#include "shared/run.h"
#include "shared/sleeping.h"

static long open_device(struct session *session, const struct kvmprobe_call *call)
{
	long fd = open_kvm(session->channels.device);

	if (fd >= 0) {
		long size = ioctl((int)fd, KVM_GET_VCPU_MMAP_SIZE, 0);

		bind_descriptor(session, call->binds, (int)fd);
		session->run_size = size > 0 ? (size_t)size : 4096;
	}
	return fd;
}

static long close_descriptor(const struct session *session, struct descriptor *on)
{
	long result = result_of(close(on->fd));

	on->fd = -1;
	if (on->run_area)
		munmap(on->run_area, session->run_size);
	on->run_area = NULL;
	return result;
}

/* An ioctl; one with guest memory is made while another thread runs the vCPU. */
static long issue_ioctl(struct session *session, const struct kvmprobe_call *call, size_t argument)
{
	struct descriptor *on = descriptor_of(session, call);

	if (!call->memory)
		return result_of(ioctl(on->fd, call->request, argument));
	on = vcpu_of(session, call);
	return ioctl_during_run(on->fd, call->request, argument, on->run_area, *memory_of(session, call->memory), (int)call->address);
}

static long plain_ioctl(struct session *session, const struct kvmprobe_call *call, size_t argument)
{
	long result = issue_ioctl(session, call, argument);

	if (call->binds && result >= 0) {
		struct descriptor *bound = bind_descriptor(session, call->binds, (int)result);

		if (call->request == KVM_CREATE_VCPU)
			bound->run_area = map_run_area((int)result, session->run_size);
	}
	return result;
}

static long output_ioctl(struct session *session, const struct kvmprobe_call *call, struct descriptor *on)
{
	uint64_t pointee = (size_t)call->output + call->pointee;
	long result;

	memcpy(call->output, call->blank, call->size);
	if (call->pointee)
		memcpy(call->output + call->pointer, &pointee, sizeof(pointee));
	result = issue_ioctl(session, call, (size_t)call->output);
	/* An address is no output: it differs from scenario to scenario. */
	if (call->pointee)
		memcpy(call->output + call->pointer, call->blank + call->pointer, sizeof(pointee));
	if (result >= 0)
		note_read_back(on, call, result);
	return result;
}

static long arch_prctl_call(const struct kvmprobe_call *call)
{
	if (!call->blank)
		return result_of(kernel_arch_prctl((int)call->request, call->argument));
	memcpy(call->output, call->blank, call->size);
	return result_of(kernel_arch_prctl((int)call->request, (size_t)call->output));
}

static long run(const struct session *session, const struct kvmprobe_call *call, const struct descriptor *vcpu)
{
	struct kvm_run *area = vcpu->run_area;

	for (const struct kvmprobe_patch *patch = call->patches; patch < call->patches + call->patch_count; patch++) {
		if (patch->size > session->run_size || patch->offset > session->run_size - patch->size)
			cannot_run("a patch lies outside the run area");
		memcpy((uint8_t *)area + patch->offset, patch->bytes, patch->size);
	}
	area->immediate_exit = (uint8_t)call->argument;
	return run_once(vcpu->fd, area, call->output, call->size);
}

static long map_memory(const struct kvmprobe_call *call, int vm)
{
	size_t size = (call->input_size + 4095) / 4096 * 4096;
	struct kvm_userspace_memory_region region = {
		.slot = (uint32_t)call->request,
		.guest_phys_addr = call->address,
		.memory_size = size,
		.userspace_addr = (size_t)memcpy(new_memory(size), (const void *)call->argument, call->input_size),
	};

	return result_of(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}

static long call_on_descriptor(struct session *session, const struct kvmprobe_call *call, const struct input *input)
{
	struct descriptor *on = descriptor_of(session, call);

	if (session->gate && is_fatal(on, call, input))
		return STOPPED;
	switch (call->kind) {
	case KVMPROBE_CLOSE:
		return close_descriptor(session, on);
	case KVMPROBE_IOCTL:
	case KVMPROBE_CAPTURED:
		return plain_ioctl(session, call, input->argument);
	case KVMPROBE_OUTPUT:
		return output_ioctl(session, call, on);
	case KVMPROBE_SLEEPING:
		return ioctl_asleep(on->fd, call->request, (const void *)input->argument, input->size);
	case KVMPROBE_MAP_MEMORY:
		return map_memory(call, on->fd);
	case KVMPROBE_MAP_PAYLOAD:
		return map_payload_of(on->fd, bind_memory(session, call->memory));
	case KVMPROBE_SHARE_PAYLOAD:
		return share_payload_of(on->fd, *memory_of(session, call->memory));
	case KVMPROBE_RUN:
		return run(session, call, vcpu_of(session, call));
	case KVMPROBE_RUN_GUEST:
		return run_command(vcpu_of(session, call), *memory_of(session, call->memory), call);
	default:
		cannot_run("a call has the unknown kind %d", call->kind);
	}
}

/* Returns the result, -errno, or STOPPED. */
long perform(struct session *session, const struct kvmprobe_call *call, const struct input *input)
{
	move_on();
	prepare_registers(call);
	switch (call->kind) {
	case KVMPROBE_OPEN:
		return open_device(session, call);
	case KVMPROBE_ARCH_PRCTL:
		return arch_prctl_call(call);
	case KVMPROBE_ALT_STACK:
		return set_alt_stack(call->argument);
	case KVMPROBE_LIMIT:
		return limit_descriptors();
	case KVMPROBE_SPAWN:
		return spawn(session, call);
	case KVMPROBE_GO_ON_IN_CHILD:
		return go_on(session);
	default:
		return call_on_descriptor(session, call, input);
	}
}
