static void set_supported_cpuid(int kvm, int vcpu)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };

	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 || ioctl(vcpu, KVM_SET_CPUID2, &cpuid) < 0)
		cannot_run("cannot set CPUID of a trial guest: %s", strerror(errno));
}


static void try_command(int vcpu, struct kvm_run *run, uint8_t *memory, uint32_t instruction, uint64_t rax)
{
	static uint8_t output[PAYLOAD_RESULT_SIZE];
	struct payload_command command = { .instruction = instruction, .rax = rax };
	long result;

	memcpy(memory + PAYLOAD_COMMAND, &command, sizeof(command));
	result = run_guest(vcpu, run, memory, output, 0);
	if (result < 0)
		cannot_run("KVM does not run a 64-bit guest: %s", strerror((int)-result));
	if (result)
		cannot_run("KVM does not run a 64-bit guest: exit reason %ld", result);
	if (u64_at(output + PAYLOAD_RESULT_VECTOR) != PAYLOAD_NO_EXCEPTION)
		cannot_run("KVM does not run a 64-bit guest: exception %llu",
			   (unsigned long long)u64_at(output + PAYLOAD_RESULT_VECTOR));
}


static void try_guest(void)
{
	enum { OSXSAVE = 1 << 18 };
	int kvm = (int)open_kvm("/dev/kvm"), vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_run *run = map_run_area(vcpu, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0));
	uint8_t *memory;

	if (!run || map_payload(vm, &memory) < 0)
		cannot_run("cannot create a trial guest: %s", strerror(errno));
	set_supported_cpuid(kvm, vcpu);
	try_command(vcpu, run, memory, PAYLOAD_READ_CR4, 0);
	try_command(vcpu, run, memory, PAYLOAD_WRITE_CR4, u64_at(memory + PAYLOAD_RESULT + PAYLOAD_RESULT_CR4) | OSXSAVE);
	try_command(vcpu, run, memory, PAYLOAD_XGETBV, 0);
}


#include <sys/wait.h>
/* No capability reports if KVM runs 64-bit guests, so try one.  In a child, because a vCPU locks permissions. */
static void need_guest_code(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		end_within(20, "cannot run here: a 64-bit guest did not exit");
		try_guest();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		cannot_run("cannot start a trial guest: %s", strerror(errno));
	if (WIFSIGNALED(status))
		cannot_run("a 64-bit guest was killed by signal %d", WTERMSIG(status));
	if (status)
		exit(CANNOT_RUN);
}
