/* Maps guest memory: whole pages that begin with these bytes. */
static long set_memory(int vm, uint32_t slot, uint64_t guest_address, const void *bytes, size_t size)
{
	size_t whole = (size + 4095) / 4096 * 4096;
	uint8_t *memory = new_memory(whole);
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = guest_address,
		.memory_size = whole,
		.userspace_addr = (uintptr_t)memory,
	};

	memcpy(memory, bytes, size);
	return result_of(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region));
}
