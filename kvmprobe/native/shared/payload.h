static long share_payload(int vm, uint8_t *memory)
{
	struct kvm_userspace_memory_region low = {
		.slot = PAYLOAD_SLOT,
		.memory_size = PAYLOAD_MEMORY,
		.userspace_addr = (uintptr_t)memory,
	};
	struct kvm_userspace_memory_region high = {
		.slot = PAYLOAD_SLOT + 1,
		.guest_phys_addr = RESET_PAGE,
		.memory_size = 4096,
		.userspace_addr = (uintptr_t)memory + PAYLOAD_MEMORY,
	};
	long result = result_of(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &low));

	return result < 0 ? result : result_of(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &high));
}


static long map_payload(int vm, uint8_t **memory)
{
	*memory = new_memory(PAYLOAD_MEMORY + 4096);
	payload_fill(*memory);
	return share_payload(vm, *memory);
}


/* Returns 0 if the guest exited by OUT to PAYLOAD_PORT, else the exit reason, or 0x100 for KVM_EXIT_UNKNOWN. */
static long enter_guest(int vcpu, struct kvm_run *run)
{
	long result;

	run->immediate_exit = 0;
	do
		result = result_of(ioctl(vcpu, KVM_RUN, 0));
	while (result == -EINTR);
	if (result < 0 || (run->exit_reason == KVM_EXIT_IO && run->io.port == PAYLOAD_PORT))
		return result;
	return run->exit_reason ? (long)run->exit_reason : 0x100;
}


/* Runs the guest until it has executed the command in its memory; copies its result and data area to `output`. */
static long run_guest(int vcpu, struct kvm_run *run, uint8_t *memory, uint8_t *output, size_t data_size)
{
	uint64_t before = u64_at(memory + PAYLOAD_COUNTER);
	long result;
	int exits = 0;

	memset(memory + PAYLOAD_RESULT, 0, PAYLOAD_RESULT_SIZE);
	/* A vCPU whose registers were restored to an earlier OUT exits by this OUT again. */
	do
		result = enter_guest(vcpu, run);
	while (result == 0 && u64_at(memory + PAYLOAD_RESULT) != before + 1 && ++exits < 4);
	memcpy(output, memory + PAYLOAD_RESULT, PAYLOAD_RESULT_SIZE);
	memcpy(output + PAYLOAD_RESULT_SIZE, memory + PAYLOAD_DATA, data_size);
	return result == 0 && u64_at(memory + PAYLOAD_RESULT) != before + 1 ? KVM_EXIT_IO : result;
}
