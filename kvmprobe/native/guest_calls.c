/* Puts the guest payload (payload.c) into a VM's memory, and passes it commands. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "session.h"

#define ioctl(fd, request, argument) kernel_ioctl(fd, request, (size_t)(argument))
#define payload_fill kvmprobe_payload_fill
#include "shared/bytes.h"
#include "shared/process.h"
#include "shared/payload.h"

long map_payload_of(int vm, uint8_t **memory)
{
	return map_payload(vm, memory);
}

long share_payload_of(int vm, uint8_t *memory)
{
	return share_payload(vm, memory);
}

long run_command(struct descriptor *vcpu, uint8_t *memory, const struct kvmprobe_call *call)
{
	const uint8_t *command = (const uint8_t *)call->argument;
	struct kvm_run *area = vcpu->run_area;
	long result;

	memcpy(memory + PAYLOAD_COMMAND, command, PAYLOAD_COMMAND_SIZE);
	memcpy(memory + PAYLOAD_DATA, command + PAYLOAD_COMMAND_SIZE, call->input_size - PAYLOAD_COMMAND_SIZE);
	result = run_guest(vcpu->fd, area, memory, call->output, call->size - PAYLOAD_RESULT_SIZE);
	/* The guest has not run and has no result; return the hardware's reason in the first bytes. */
	if (result == KVM_EXIT_FAIL_ENTRY)
		memcpy(call->output, &area->fail_entry.hardware_entry_failure_reason,
		       sizeof(area->fail_entry.hardware_entry_failure_reason));
	return result;
}
