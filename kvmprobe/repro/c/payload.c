/*
 * The guest: code in 64-bit mode that takes a command from PAYLOAD_COMMAND, executes that one instruction with those
 * registers, leaves registers or the exception at PAYLOAD_RESULT, its memory operand at PAYLOAD_DATA, and leaves the guest
 * by OUT to PAYLOAD_PORT.
 */
enum {
	PAYLOAD_MEMORY = 0x20000,
	PAYLOAD_CODE = 0x8000,
	PAYLOAD_COMMAND = 0xc000,
	PAYLOAD_RESULT = 0xc080,
	PAYLOAD_RESULT_SIZE = 128,
	PAYLOAD_RESULT_VECTOR = 8, /* u64: of an exception, or NO_EXCEPTION */
	PAYLOAD_RESULT_CR4 = 80,
	NO_EXCEPTION = 0x100,
	PAYLOAD_COUNTER = 0xc100, /* u64: commands carried out */
	PAYLOAD_DATA = 0x10000,
	PAYLOAD_PORT = 0x7e,
	PAYLOAD_SLOT = 0x10,
	RESET_PAGE = 0x1000,
	RESET_VECTOR = 0xff0,
};


struct payload_command {
	uint32_t instruction, operand;
	uint64_t rax, rbx, rcx, rdx;
	uint64_t offset; /* of the memory operand, from PAYLOAD_DATA */
	uint8_t reserved[16];
};


static long share_payload(int vm, uint8_t *memory)
{
	struct kvm_userspace_memory_region low = {
		.slot = PAYLOAD_SLOT,
		.memory_size = PAYLOAD_MEMORY,
		.userspace_addr = (uintptr_t)memory,
	};
	struct kvm_userspace_memory_region high = {
		.slot = PAYLOAD_SLOT + 1,
		.guest_phys_addr = 0xfffff000,
		.memory_size = RESET_PAGE,
		.userspace_addr = (uintptr_t)memory + PAYLOAD_MEMORY,
	};
	long result = result_of(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &low));

	return result < 0 ? result : result_of(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &high));
}


static long map_payload(int vm, uint8_t **memory)
{
	*memory = new_memory(PAYLOAD_MEMORY + RESET_PAGE);
	memcpy(*memory + PAYLOAD_CODE, payload_code, sizeof(payload_code));
	memcpy(*memory + PAYLOAD_MEMORY + RESET_VECTOR, payload_reset, sizeof(payload_reset));
	return share_payload(vm, *memory);
}


/* Returns 0 if the guest left by PAYLOAD_PORT, else the exit reason, 0x100 for KVM_EXIT_UNKNOWN. */
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


/* Has the guest carry out a command; `output` gets its result and what is behind it in its data. */
static long run_guest(int vcpu, struct kvm_run *run, uint8_t *memory, uint8_t *output, size_t data_size)
{
	uint64_t before = u64_at(memory + PAYLOAD_COUNTER);
	long result;
	int exits = 0;

	memset(memory + PAYLOAD_RESULT, 0, PAYLOAD_RESULT_SIZE);
	/* A vCPU whose registers were restored to those at the OUT leaves by it once more. */
	do
		result = enter_guest(vcpu, run);
	while (result == 0 && u64_at(memory + PAYLOAD_RESULT) != before + 1 && ++exits < 4);
	memcpy(output, memory + PAYLOAD_RESULT, PAYLOAD_RESULT_SIZE);
	memcpy(output + PAYLOAD_RESULT_SIZE, memory + PAYLOAD_DATA, data_size);
	return result == 0 && u64_at(memory + PAYLOAD_RESULT) != before + 1 ? KVM_EXIT_IO : result;
}


static void set_supported_cpuid(int kvm, int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };

	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 || ioctl(vcpu, KVM_SET_CPUID2, &cpuid) < 0)
		cannot_run("no CPUID for a guest: %s", strerror(errno));
}


static void try_command(int vcpu, struct kvm_run *run, uint8_t *memory, uint32_t instruction, uint64_t rax)
{
	static uint8_t output[PAYLOAD_RESULT_SIZE];
	struct payload_command command = { .instruction = instruction, .rax = rax };
	long result;

	memcpy(memory + PAYLOAD_COMMAND, &command, sizeof(command));
	result = run_guest(vcpu, run, memory, output, 0);
	if (result < 0)
		cannot_run("KVM runs no guest in 64-bit mode: %s", strerror((int)-result));
	if (result)
		cannot_run("KVM runs no guest in 64-bit mode: exit reason %ld", result);
	if (u64_at(output + PAYLOAD_RESULT_VECTOR) != NO_EXCEPTION)
		cannot_run("KVM runs no guest in 64-bit mode: exception %llu",
			   (unsigned long long)u64_at(output + PAYLOAD_RESULT_VECTOR));
}


static void try_guest(void)
{
	enum { READ_CR4 = 7, WRITE_CR4 = 8, XGETBV = 10, OSXSAVE = 1 << 18 };
	int kvm = (int)open_kvm("/dev/kvm"), vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = map_run_area(vcpu, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	uint8_t *memory;

	if (!run || map_payload(vm, &memory) < 0)
		cannot_run("no guest: %s", strerror(errno));
	set_supported_cpuid(kvm, vcpu);
	try_command(vcpu, run, memory, READ_CR4, 0);
	try_command(vcpu, run, memory, WRITE_CR4, u64_at(memory + PAYLOAD_RESULT + PAYLOAD_RESULT_CR4) | OSXSAVE);
	try_command(vcpu, run, memory, XGETBV, 0);
}


#include <sys/wait.h>
/* Whether a guest in 64-bit mode runs, capabilities do not tell.  Tried in a child: a vCPU locks permissions. */
static void need_guest_code(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		end_within(20, "cannot run here: a guest in 64-bit mode does not come back");
		try_guest();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		cannot_run("no process to try a guest in: %s", strerror(errno));
	if (WIFSIGNALED(status))
		cannot_run("a guest in 64-bit mode ends with signal %d", WTERMSIG(status));
	if (status)
		exit(CANNOT_RUN);
}
