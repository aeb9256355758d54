/*
 * The gate: remembers XSTATE_BV and IA32_XFD of each vCPU as last read back, and knows the calls that load this state into
 * the processor.  If XSTATE_BV has a component that XFD disables, XRSTOR raises #NM in the host, which is fatal.
 */
#include <linux/kvm.h>
#include <string.h>

#include "shared/fallbacks.h"
#include "session.h"

enum { XSTATE_BV_OFFSET = 512 };

static const unsigned long msr_lists[] = { FPU_MSR_LISTS };
static const unsigned long one_registers[] = { FPU_ONE_REGISTERS };
static const unsigned long loading_msrs[] = { FPU_LOADING_MSRS };

#define LISTED(value, list) is_listed(value, list, sizeof(list) / sizeof(list[0]))

static int is_listed(unsigned long value, const unsigned long *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == value)
			return 1;
	return 0;
}

static struct kvm_msr_entry entry_at(const uint8_t *msrs, size_t nr)
{
	struct kvm_msr_entry entry;

	memcpy(&entry, msrs + sizeof(struct kvm_msrs) + nr * sizeof(entry), sizeof(entry));
	return entry;
}

void note_read_back(struct descriptor *vcpu, const struct kvmprobe_call *call, long result)
{
	if (call->request == KVM_GET_XSAVE2 || call->request == KVM_GET_XSAVE) {
		if (call->size >= XSTATE_BV_OFFSET + sizeof(vcpu->xstate_bv))
			memcpy(&vcpu->xstate_bv, call->output + XSTATE_BV_OFFSET, sizeof(vcpu->xstate_bv));
	} else if (call->request == KVM_GET_MSRS) {
		for (size_t nr = 0; nr < (size_t)result; nr++) {
			struct kvm_msr_entry entry = entry_at(call->output, nr);

			if (entry.index == XFD_MSR)
				vcpu->xfd = entry.data;
		}
	}
}

/* KVM handles a list in order, so an entry of KVM_SET_MSRS may arm XFD for those that follow it. */
static int list_is_fatal(uint64_t xstate_bv, uint64_t xfd, int sets, const uint8_t *msrs, size_t size)
{
	for (size_t nr = 0; sizeof(struct kvm_msrs) + (nr + 1) * sizeof(struct kvm_msr_entry) <= size; nr++) {
		struct kvm_msr_entry entry = entry_at(msrs, nr);

		if (sets && entry.index == XFD_MSR)
			xfd = entry.data;
		if ((xstate_bv & xfd) && LISTED(entry.index, loading_msrs))
			return 1;
	}
	return 0;
}

int kvmprobe_load_is_fatal(uint64_t xstate_bv, uint64_t xfd, unsigned long request, const uint8_t *bytes, size_t size)
{
	struct kvm_one_reg reg;

	if (request == KVM_RUN)
		return (xstate_bv & xfd) != 0;
	if (LISTED(request, msr_lists))
		return list_is_fatal(xstate_bv, xfd, request == KVM_SET_MSRS, bytes, size);
	if (!LISTED(request, one_registers) || size < sizeof(reg))
		return 0;
	memcpy(&reg, bytes, sizeof(reg));
	return (xstate_bv & xfd) && LISTED((uint32_t)reg.id, loading_msrs);
}

int is_fatal(const struct descriptor *vcpu, const struct kvmprobe_call *call, const struct input *input)
{
	int writes = call->kind == KVMPROBE_OUTPUT;
	const uint8_t *bytes = writes ? call->blank : (const uint8_t *)input->argument;
	size_t size = writes ? call->size : input->size;
	int runs = call->kind == KVMPROBE_RUN || call->kind == KVMPROBE_RUN_GUEST || call->memory;

	return kvmprobe_load_is_fatal(vcpu->xstate_bv, vcpu->xfd, runs ? KVM_RUN : call->request, bytes, size);
}
