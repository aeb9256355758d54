/*
 * A small VMM for tests of `kvmprobe trace`.
 *
 * traced restore RUNS		one vCPU: an order of calls, then RUNS KVM_RUNs; stdout: XSTATE_BV as read back
 * traced amx			one vCPU with live tiles: permission, CPUID, IA32_XFD, XCR0, state, one KVM_RUN
 * traced threads RUNS		eight vCPUs, one thread each: KVM_SET_REGS, then RUNS KVM_RUNs
 * traced later GO RUNS		the same, but waits for the file GO before the threads' first call
 * traced refuse NUMBER FIRST COMMAND...
 *				becomes a command, whose system call with that number and first argument, any if -1, fails: EACCES
 * traced kill NUMBER FIRST COMMAND...
 *				the same, but the call kills it with SIGSYS
 * traced daemon GO RESULT	the same as wait, in a child that has left its session; the parent exits with status 4
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
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traced_vm.h"

enum { GUEST_PERM = 0x1024, REQ_GUEST_PERM = 0x1025 };
/* Of AMX: the bits of its components, the number of the dynamic one, its place in an image (CPUID 0xD.18). */
enum { TILES = 3 << 17, TILE_DATA = 18, TILE_DATA_OFFSET = 2816, TILE_DATA_SIZE = 8192 };

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

static void amx(void)
{
	static struct { struct kvm_cpuid2 head; struct kvm_cpuid_entry2 entries[256]; } cpuid = { .head.nent = 256 };
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } xfd = { .head.nmsrs = 1, .entry = { .index = 0x1c4 } };
	struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = TILES | 7 } } };
	static unsigned char image[16384];
	unsigned long *header = (unsigned long *)(image + 512);
	struct kvm_sregs sregs;
	struct vcpu vcpu;

	require(syscall(SYS_arch_prctl, REQ_GUEST_PERM, TILE_DATA), "ARCH_REQ_XCOMP_GUEST_PERM");
	make_vm("\xe6\x10\xeb\xfc");
	vcpu = make_vcpu(0);
	require(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "KVM_GET_SUPPORTED_CPUID");
	require(ioctl(vcpu.fd, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
	require(ioctl(vcpu.fd, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cr4 |= 1 << 18; /* OSXSAVE */
	require(ioctl(vcpu.fd, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	require(ioctl(vcpu.fd, KVM_SET_MSRS, &xfd), "KVM_SET_MSRS");
	require(ioctl(vcpu.fd, KVM_SET_XCRS, &xcrs), "KVM_SET_XCRS");
	require(ioctl(vcpu.fd, KVM_GET_XSAVE2, image), "KVM_GET_XSAVE2");
	*header |= TILES;
	memset(image + TILE_DATA_OFFSET, 0xa5, TILE_DATA_SIZE);
	require(ioctl(vcpu.fd, KVM_SET_XSAVE, image), "KVM_SET_XSAVE");
	require(set_registers(&vcpu), "KVM_SET_REGS");
	run(&vcpu, 1);
	require(ioctl(vcpu.fd, KVM_GET_XSAVE2, image), "KVM_GET_XSAVE2");
	printf("XSTATE_BV %lx\n", *header);
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

static void filter(unsigned action, long number, long first)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, first < 0 ? 2 : 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
	require(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "PR_SET_SECCOMP");
}

static int filtered(unsigned action, char **words)
{
	filter(action, atol(words[0]), strtol(words[1], NULL, 0));
	execvp(words[2], words + 2);
	perror(words[2]);
	return 2;
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
	} else if (!strcmp(words[1], "amx")) {
		amx();
	} else if (!strcmp(words[1], "threads")) {
		threads(runs);
	} else if (!strcmp(words[1], "later")) {
		awaited = words[2];
		threads(atol(words[3]));
	} else if (!strcmp(words[1], "refuse")) {
		return filtered(SECCOMP_RET_ERRNO | EACCES, words + 2);
	} else if (!strcmp(words[1], "kill")) {
		return filtered(SECCOMP_RET_KILL_PROCESS, words + 2);
	} else if (!strcmp(words[1], "daemon")) {
		if (fork())
			return 4;
		setsid();
		wait_for(words[2], words[3]);
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
