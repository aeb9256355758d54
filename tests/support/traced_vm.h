/*
 * The VM of the programs that tests and benchmarks trace: its guest writes to port 0x10 for ever.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { VCPUS = 8, PAGE = 4096 };

struct vcpu {
	int fd;
	long runs;
	struct kvm_run *run;
};

static int kvm, vm;

static void require(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(2);
	}
}

/* "again: out %al, $0x10; jmp again" at the guest's first page, or a HLT that never wakes up. */
static void make_vm(const char *code)
{
	unsigned char *memory = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = { 0, 0, 0x1000, PAGE, (unsigned long)memory };

	memcpy(memory, code, 4);
	require(kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	require(vm = ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	require(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
}

static struct vcpu make_vcpu(int number)
{
	struct vcpu vcpu = { 0 };

	require(vcpu.fd = ioctl(vm, KVM_CREATE_VCPU, number), "KVM_CREATE_VCPU");
	vcpu.run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
	return vcpu;
}

static int set_registers(struct vcpu *vcpu)
{
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2, .rax = 0x5a };
	struct kvm_sregs sregs;

	require(ioctl(vcpu->fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	require(ioctl(vcpu->fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	return ioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

static void run(struct vcpu *vcpu, long runs)
{
	while (runs--) {
		require(ioctl(vcpu->fd, KVM_RUN, 0), "KVM_RUN");
		if (vcpu->run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "exit reason %u\n", vcpu->run->exit_reason);
			exit(3);
		}
	}
}
