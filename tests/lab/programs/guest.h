/*
 * A KVM guest made of this very program: its memory is this program's image at the same addresses, its page
 * tables map it one to one, so that C functions of the program run in the guest's ring 0.
 *
 * Link with -static -no-pie; compile with -mgeneral-regs-only, -mno-red-zone and -fno-stack-protector.
 */
#ifndef GUEST_H
#define GUEST_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#define EXIT_PORT 0xf4
#define VECTORS 48
#define CODE_SELECTOR 8
#define DATA_SELECTOR 16
#define TSS_SELECTOR 24
#define CR0_TS (1ull << 3)
#define CR4_VMXE (1ull << 13)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_PKE (1ull << 22)
#define MSR_XFD 0x1c4
#define MSR_XFD_ERR 0x1c5
#define MSR_XSS 0xda0

/* ---- inside the guest ---- */

static u64 resume;			/* where to go on after an exception */
static volatile u64 last_trap, last_error, last_rip;
static u8 guest_stack[16384] __attribute__((aligned(16)));
static u8 task_state[104];
static u64 page_map[512] __attribute__((aligned(4096)));
static u64 page_directories[512] __attribute__((aligned(4096)));
static u64 page_directory[512] __attribute__((aligned(4096)));
static u64 descriptors[8] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
static u64 interrupts[VECTORS][2];
extern char vectors[];

/* Entry code of each vector, 16 bytes apart: notes vector, error code and place, goes on at resume. */
asm(".text\n.balign 16\nvectors:\n"
    ".set vector, 0\n"
    ".rept 48\n"
    ".balign 16\n"
    ".if !((1 << vector) & 0x60227d00)\n"
    "pushq $0\n"
    ".endif\n"
    "pushq $vector\n"
    "jmp trapped\n"
    ".set vector, vector + 1\n"
    ".endr\n"
    "trapped:\n"
    "pushq %rax\n"
    "movq 8(%rsp), %rax\n\tmovq %rax, last_trap(%rip)\n"
    "movq 16(%rsp), %rax\n\tmovq %rax, last_error(%rip)\n"
    "movq 24(%rsp), %rax\n\tmovq %rax, last_rip(%rip)\n"
    "movq resume(%rip), %rax\n"
    "testq %rax, %rax\n\tjz unexpected\n"
    "movq %rax, 24(%rsp)\n"
    "movq $0, resume(%rip)\n"
    "popq %rax\n\taddq $16, %rsp\n\tiretq\n"
    "unexpected:\n"
    "movb $1, %al\n\toutb %al, $0xf4\n\tjmp unexpected\n");

#define GUEST_TRY(code, ...) \
	do { \
		last_trap = NO_TRAP; \
		asm volatile("leaq 9f(%%rip), %%r11\n\tmovq %%r11, %0\n\t" code "\n9:" \
			     : "+m"(resume) : __VA_ARGS__ : "r11", "memory"); \
		resume = 0; \
	} while (0)

static inline u64 rdmsr(u32 number)
{
	u32 low, high;

	asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
	return (u64)high << 32 | low;
}

/* The exception that writing this value raises, or NO_TRAP. */
__attribute__((unused)) static u64 wrmsr(u32 number, u64 value)
{
	GUEST_TRY("wrmsr", "c"(number), "a"((u32)value), "d"((u32)(value >> 32)));
	return last_trap;
}

__attribute__((unused)) static u64 xsetbv(u32 number, u64 value)
{
	GUEST_TRY("xsetbv", "c"(number), "a"((u32)value), "d"((u32)(value >> 32)));
	return last_trap;
}

#define CONTROL_REGISTER(n) \
	__attribute__((unused)) static inline u64 read_cr##n(void) \
	{ \
		u64 value; \
\
		asm volatile("mov %%cr" #n ", %0" : "=r"(value)); \
		return value; \
	} \
	__attribute__((unused)) static inline void write_cr##n(u64 value) \
	{ \
		asm volatile("mov %0, %%cr" #n : : "r"(value) : "memory"); \
	}
CONTROL_REGISTER(0)
CONTROL_REGISTER(3)
CONTROL_REGISTER(4)

static struct {
	const char *name, *section;
	u64 expected, observed;
} results[256];
static volatile int result_count;

/* In the guest a result is noted; the host prints it. */
void check(const char *name, const char *section, u64 expected, u64 observed)
{
	int n = result_count;

	results[n].name = name;
	results[n].section = section;
	results[n].expected = expected;
	results[n].observed = observed;
	result_count = n + 1;
}

static void (*guest_main)(void);

__attribute__((noreturn)) static void guest_entry(void)
{
	guest_main();
	for (;;)
		asm volatile("outb %0, $0xf4" : : "a"((u8)0));
}

/* ---- outside ---- */

static int kvm, vm, vcpu;
static struct kvm_run *run;

__attribute__((noreturn)) static void give_up(const char *what)
{
	printf("not ok %s: %s\n", what, strerror(errno));
	exit(2);
}

static long must(long result, const char *what)
{
	if (result < 0)
		give_up(what);
	return result;
}

/* Prints what was noted since; returns how many failed. */
static int print_results(void)
{
	int failures = 0;

	for (int n = 0; n < result_count; n++) {
		if (results[n].expected == results[n].observed) {
			printf("ok %s (SDM %s)\n", results[n].name, results[n].section);
			continue;
		}
		printf("not ok %s (SDM %s): expected %#llx, observed %#llx\n", results[n].name, results[n].section,
		       (unsigned long long)results[n].expected, (unsigned long long)results[n].observed);
		failures++;
	}
	result_count = 0;
	fflush(stdout);
	return failures;
}

static void build_tables(void)
{
	page_map[0] = (u64)page_directories | 3;
	page_directories[0] = (u64)page_directory | 3;
	for (u64 i = 0; i < 512; i++)
		page_directory[i] = i << 21 | 0x83;
	for (int i = 0; i < VECTORS; i++) {
		u64 entry = (u64)vectors + 16 * i;

		interrupts[i][0] = (entry & 0xffff) | CODE_SELECTOR << 16 | 0x8e00ull << 32 | (entry >> 16 & 0xffff) << 48;
		interrupts[i][1] = entry >> 32;
	}
	u64 base = (u64)task_state;
	descriptors[3] = (sizeof task_state - 1) | (base & 0xffffff) << 16 | 0x8bull << 40 | (base >> 24 & 0xff) << 56;
	descriptors[4] = base >> 32;
}

static void set_registers(void)
{
	struct kvm_segment code = { .limit = ~0u, .selector = CODE_SELECTOR, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = ~0u, .selector = DATA_SELECTOR, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = (u64)guest_entry, .rflags = 2,
				 .rsp = (u64)guest_stack + sizeof guest_stack - 8 };

	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.tr = (struct kvm_segment){ .base = (u64)task_state, .limit = sizeof task_state - 1,
					 .selector = TSS_SELECTOR, .type = 11, .present = 1 };
	sregs.gdt = (struct kvm_dtable){ .base = (u64)descriptors, .limit = sizeof descriptors - 1 };
	sregs.idt = (struct kvm_dtable){ .base = (u64)interrupts, .limit = sizeof interrupts - 1 };
	sregs.cr0 = 0x80010033;
	sregs.cr3 = (u64)page_map;
	sregs.cr4 |= 0x620; /* PAE, OSFXSR, OSXMMEXCPT; the rest as the guest left it */
	sregs.efer = 0x500;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* A VM with an interrupt controller in the kernel, one vCPU and all that KVM can give to its CPUID. */
static void make_guest(void)
{
	extern char __executable_start[], _end[];
	u64 start = (u64)__executable_start & ~4095ull, end = ((u64)_end + 4095) & ~4095ull;
	struct kvm_userspace_memory_region memory = { .guest_phys_addr = start, .memory_size = end - start,
						       .userspace_addr = start };
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} leaves = { .head = { .nent = 256 } };

	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, 18) != 0)
		give_up("guest permission");
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &memory), "KVM_SET_USER_MEMORY_REGION");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &leaves), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, &leaves), "KVM_SET_CPUID2");
	run = mmap(NULL, must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		give_up("mmap of the vCPU");
	build_tables();
}

/* Runs a function in the guest until it returns; ends the program if it does not. */
static void run_guest(void (*function)(void))
{
	guest_main = function;
	set_registers();
	must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason == KVM_EXIT_IO && run->io.port == EXIT_PORT &&
	    *((u8 *)run + run->io.data_offset) == 0)
		return;
	print_results();
	printf("not ok guest: exit %u, exception %lld (error %#llx) at %#llx\n", run->exit_reason, (long long)last_trap,
	       (unsigned long long)last_error, (unsigned long long)last_rip);
	exit(2);
}

__attribute__((unused)) static u64 guest_msr(u32 number)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head = { .nmsrs = 1 }, .entry = { .index = number } };

	return ioctl(vcpu, KVM_GET_MSRS, &one) == 1 ? one.entry.data : ~0ull;
}

__attribute__((unused)) static int set_guest_msr(u32 number, u64 value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head = { .nmsrs = 1 }, .entry = { .index = number, .data = value } };

	return ioctl(vcpu, KVM_SET_MSRS, &one) == 1;
}

#endif
