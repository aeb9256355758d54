/* A missing entry is all zero.  An entry whose index is not significant applies to all sub-leaves. */
static struct kvm_cpuid_entry2 cpuid_entry(const void *table, uint32_t leaf, uint32_t subleaf)
{
	struct kvm_cpuid_entry2 entry;
	uint64_t count = u32_at(table);

	for (size_t i = 0; i < count && i < 256; i++) {
		memcpy(&entry, (const uint8_t *)table + 8 + sizeof(entry) * i, sizeof(entry));
		if (entry.function == leaf
		    && (entry.index == subleaf || !(entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return entry;
	}
	return (struct kvm_cpuid_entry2){ 0 };
}


static uint64_t cpuid_xcr0(const void *table)
{
	struct kvm_cpuid_entry2 entry = cpuid_entry(table, 0xd, 0);

	return (uint64_t)entry.edx << 32 | entry.eax;
}


static uint64_t cpuid_osxsave(const void *table)
{
	return cpuid_entry(table, 1, 0).ecx >> 27 & 1;
}


/* Counts the entries of the leaves 0xD, 0x1D and 0x1E in a buffer with room for `room` entries. */
static uint64_t cpuid_xstate_leaves(const void *table, size_t room)
{
	uint64_t found = 0, count = u32_at(table);

	for (size_t i = 0; i < count && i < room; i++) {
		uint64_t leaf = u32_at((const uint8_t *)table + 8 + sizeof(struct kvm_cpuid_entry2) * i);

		found += leaf == 0xd || leaf == 0x1d || leaf == 0x1e;
	}
	return found;
}


/* Registers of a leaf that may have any value. */
struct open_registers {
	uint32_t leaf;
	int eax, ebx, ecx, edx;
};


static void print_entry(const char *which, const struct kvm_cpuid_entry2 *entry)
{
	printf("      %s %#x.%x, flags %#x: %08x %08x %08x %08x\n", which, entry->function, entry->index, entry->flags,
	       entry->eax, entry->ebx, entry->ecx, entry->edx);
}


static int same_entry(const struct kvm_cpuid_entry2 *wanted, const struct kvm_cpuid_entry2 *seen,
		      const struct open_registers *open, size_t opens)
{
	struct kvm_cpuid_entry2 adopted = *wanted;

	for (size_t i = 0; i < opens; i++) {
		if (open[i].leaf != wanted->function)
			continue;
		adopted.eax = open[i].eax ? seen->eax : adopted.eax;
		adopted.ebx = open[i].ebx ? seen->ebx : adopted.ebx;
		adopted.ecx = open[i].ecx ? seen->ecx : adopted.ecx;
		adopted.edx = open[i].edx ? seen->edx : adopted.edx;
	}
	return memcmp(&adopted, seen, sizeof(adopted)) == 0;
}


/* Checks the first `count` entries of a table. */
static void expect_entries(const void *table, const struct kvm_cpuid_entry2 *wanted, size_t count,
			   const struct open_registers *open, size_t opens)
{
	struct kvm_cpuid_entry2 seen;

	checks++;
	for (size_t i = 0; i < count; i++) {
		memcpy(&seen, (const uint8_t *)table + 8 + sizeof(seen) * i, sizeof(seen));
		if (i < u32_at(table) && same_entry(&wanted[i], &seen, open, opens))
			continue;
		mismatches++;
		mismatch("entry %zu of %llu", i, (unsigned long long)u32_at(table));
		print_entry("expected", &wanted[i]);
		print_entry("observed", &seen);
		return;
	}
}


/* Returns 1 if a struct kvm_msr_list with room for `room` entries has the MSR. */
static uint64_t lists_msr(const void *list, size_t room, uint32_t index)
{
	for (size_t i = 0; i < u32_at(list) && i < room; i++)
		if (u32_at((const uint8_t *)list + 4 + 4 * i) == index)
			return 1;
	return 0;
}
