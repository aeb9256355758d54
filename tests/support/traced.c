/*
 * A small VMM for tests of `kvmprobe trace`.
 *
 * traced restore RUNS		one vCPU: an order of calls, then RUNS KVM_RUNs; stdout: XSTATE_BV as read back
 * traced threads RUNS		eight vCPUs, one thread each: KVM_SET_REGS, then RUNS KVM_RUNs
 * traced later GO RUNS		the same, but waits for the file GO before the threads' first call
 * traced fork			a child does what restore does
 * traced exec			becomes `restore 1`, by an exec of its second thread
 * traced abort			dies after KVM_SET_REGS
 * traced hang			waits in KVM_RUN for ever, in a second thread; exits with status 7
 * traced wait GO RESULT	makes a call, waits for the file GO, makes 100 calls, writes how many failed to RESULT
 * traced calls COUNT		makes so many calls; stdout: how many failed
 * traced compat		an ioctl through the 32-bit entry, then through the 64-bit one
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VCPUS = 8, PAGE = 4096, GUEST_PERM = 0x1024 };

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

static void restore(long runs)
{
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[256]; } cpuid = { .head.nent = 256 };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = 3 } } };
	static struct kvm_xsave xsave;
	unsigned long permitted;
	struct vcpu vcpu;

	syscall(SYS_arch_prctl, GUEST_PERM, &permitted);
	make_vm("\xe6\x10\xeb\xfc");
	vcpu = make_vcpu(0);
	require(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	require(ioctl(vcpu.fd, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	require(ioctl(vcpu.fd, KVM_SET_XCRS, &xcrs), "KVM_SET_XCRS");
	require(ioctl(vcpu.fd, KVM_GET_XSAVE, &xsave), "KVM_GET_XSAVE");
	xsave.region[512 / 4] = 3;
	memset((char *)xsave.region + 160, 0xa5, 16);
	require(ioctl(vcpu.fd, KVM_SET_XSAVE, &xsave), "KVM_SET_XSAVE");
	/* Refused: XSTATE_BV has a bit that no processor has. */
	xsave.region[512 / 4 + 1] = 1u << 30;
	ioctl(vcpu.fd, KVM_SET_XSAVE, &xsave);
	require(set_registers(&vcpu), "KVM_SET_REGS");
	run(&vcpu, runs);
	require(ioctl(vcpu.fd, KVM_GET_XSAVE, &xsave), "KVM_GET_XSAVE");
	printf("XSTATE_BV %x\n", xsave.region[512 / 4]);
}

static const char *awaited;

static void await(void)
{
	while (awaited && access(awaited, F_OK))
		usleep(10000);
}

static void *run_thread(void *argument)
{
	struct vcpu *vcpu = argument;

	await();
	require(set_registers(vcpu), "KVM_SET_REGS");
	run(vcpu, vcpu->runs);
	require(set_registers(vcpu), "KVM_SET_REGS");
	return NULL;
}

static void threads(long runs)
{
	struct vcpu vcpus[VCPUS];
	pthread_t tasks[VCPUS];
	int i;

	make_vm("\xe6\x10\xeb\xfc");
	for (i = 0; i < VCPUS; i++) {
		vcpus[i] = make_vcpu(i);
		vcpus[i].runs = runs;
	}
	for (i = 0; i < VCPUS; i++)
		pthread_create(&tasks[i], NULL, run_thread, &vcpus[i]);
	if (awaited)
		printf("ready\n");
	fflush(stdout);
	for (i = 0; i < VCPUS; i++)
		pthread_join(tasks[i], NULL);
}

static void *hang_thread(void *argument)
{
	struct vcpu *vcpu = argument;

	set_registers(vcpu);
	ioctl(vcpu->fd, KVM_RUN, 0);
	return NULL;
}

static void hang(void)
{
	struct vcpu vcpu;
	pthread_t task;

	make_vm("\xeb\xfe\x90\x90");
	vcpu = make_vcpu(0);
	pthread_create(&task, NULL, hang_thread, &vcpu);
	usleep(200000);
	exit(7);
}

static void wait_for(const char *go, const char *result)
{
	struct vcpu vcpu;
	int failed = 0, i;
	FILE *file;

	make_vm("\xe6\x10\xeb\xfc");
	vcpu = make_vcpu(0);
	require(set_registers(&vcpu), "KVM_SET_REGS");
	printf("ready %d\n", getpid());
	fflush(stdout);
	awaited = go;
	await();
	for (i = 0; i < 100; i++) {
		failed += set_registers(&vcpu) < 0;
		run(&vcpu, 10);
	}
	file = fopen(result, "w");
	fprintf(file, "%d failed\n", failed);
	fclose(file);
}

static void calls(long count)
{
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct vcpu vcpu;
	long failed = 0;

	make_vm("\xe6\x10\xeb\xfc");
	vcpu = make_vcpu(0);
	for (regs.rax = 0; regs.rax < (unsigned long)count; regs.rax++)
		failed += ioctl(vcpu.fd, KVM_SET_REGS, &regs) < 0;
	printf("%ld failed\n", failed);
}

static void *exec_thread(void *program)
{
	execl(program, program, "restore", "1", NULL);
	return NULL;
}

static void compat(void)
{
	long result;

	make_vm("\xe6\x10\xeb\xfc");
	/* ioctl(2) is number 54 there. */
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(54), "b"(kvm), "c"(KVM_GET_API_VERSION), "d"(0) : "memory");
	printf("%ld\n", result);
	ioctl(kvm, KVM_GET_API_VERSION, 0);
}

int main(int count, char **words)
{
	long runs = count > 2 ? atol(words[2]) : 1;
	struct vcpu vcpu;
	pthread_t task;

	if (!strcmp(words[1], "restore")) {
		restore(runs);
	} else if (!strcmp(words[1], "threads")) {
		threads(runs);
	} else if (!strcmp(words[1], "later")) {
		awaited = words[2];
		threads(atol(words[3]));
	} else if (!strcmp(words[1], "fork")) {
		if (!fork()) {
			restore(1);
			return 0;
		}
		wait(NULL);
	} else if (!strcmp(words[1], "exec")) {
		make_vm("\xe6\x10\xeb\xfc");
		pthread_create(&task, NULL, exec_thread, words[0]);
		pause();
	} else if (!strcmp(words[1], "abort")) {
		make_vm("\xe6\x10\xeb\xfc");
		vcpu = make_vcpu(0);
		set_registers(&vcpu);
		abort();
	} else if (!strcmp(words[1], "hang")) {
		hang();
	} else if (!strcmp(words[1], "wait")) {
		wait_for(words[2], words[3]);
	} else if (!strcmp(words[1], "calls")) {
		calls(runs);
	} else if (!strcmp(words[1], "compat")) {
		compat();
	}
	return 0;
}
