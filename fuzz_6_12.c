// SPDX-License-Identifier: MIT
/*
 * fuzz.6.12
 *
 * Makes one sequence of KVM calls and checks the result of each.  The comment at each
 * step has the expected result, and its source in the documentation, the SDM or the
 * kernel.
 *
 * Build: cc -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread -o reproducer reproducer.c
 * Run:   ./reproducer [--go-on]
 * Exit:  0 not reproduced: the kernel behaves as expected
 *        1 reproduced: a result differs
 *        2 cannot run here: no /dev/kvm, no AMX, another CPU than it was written for,
 *          no 64-bit guest although it needs one, or not finished within 60 s
 *
 * Without --go-on it stops if XSTATE_BV and XFD show that the next load of the
 * guest's FPU state would PANIC the host.
 *
 * For KVM that offers guests XCR0=0x602e7 (FP|SSE|YMM|OPMASK|ZMM_HI256|HI16_ZMM|PKRU|XTILE_CFG|XTILE_DATA).
 * Shows: KVM_SET_FPU is lost and KVM_GET_FPU stale where XSTATE_BV says that x87 and SSE are in INIT state
 * (kvmprobe's O2, open).
 * Shows: KVM_GET_SUPPORTED_CPUID has XTILE_CFG without XTILE_DATA where guest permission was not asked (kvmprobe's
 * B4, fixed in 6.4; not in 6.1.y).
 * Written by kvmprobe 0.1.0.
 */

#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XFEATURE_MASK_FP (1ULL << 0)
#define XFEATURE_MASK_SSE (1ULL << 1)
#define XFEATURE_MASK_YMM (1ULL << 2)
#define MSR_IA32_XFD 0x1c4
#define MSR_IA32_XFD_ERR 0x1c5
#define XSAVE_FCW 0
#define XSAVE_MXCSR 24
#define XSAVE_MXCSR_MASK 28
#define XSAVE_ST 32
#define XSAVE_XMM 160
#define XSAVE_XSTATE_BV 512
#define NOT_REPRODUCED 0
#define REPRODUCED 1
#define CANNOT_RUN 2
#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#endif
#ifndef KVM_X86_XCOMP_GUEST_SUPP
#define KVM_X86_XCOMP_GUEST_SUPP 0
#endif
#ifndef KVM_GET_XSAVE2
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif
/* Fills an output before the call, to show the bytes that the kernel did not write. */
#define CANARY 0xa5
/* The result of a call that was not made because it would kill the host.  No errno is that large. */
#define STOPPED (-4096L)
#define XSAVE_YMM 576 /* CPUID.(0xd, 2):EBX */

static int checks;

static int mismatches;

static const char *last_call = "";

static char first_mismatch[512];

/* Prints what differs in the result of the last call.  The last line of the program repeats the first mismatch. */
__attribute__((format(printf, 1, 2))) static void mismatch(const char *format, ...)
{
	char text[160];
	va_list values;

	va_start(values, format);
	vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	printf("    MISMATCH: %s\n", text);
	if (!first_mismatch[0])
		snprintf(first_mismatch, sizeof(first_mismatch), "; first: %.300s: %s", last_call, text);
}

static int verdict(void)
{
	printf("%s: %d of %d checks failed%s\n", mismatches ? "REPRODUCED" : "not reproduced", mismatches, checks,
	       first_mismatch);
	return mismatches ? REPRODUCED : NOT_REPRODUCED;
}

__attribute__((format(printf, 1, 2), noreturn)) static void cannot_run(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	fputs("cannot run here: ", stdout);
	vprintf(format, values);
	putchar('\n');
	va_end(values);
	exit(CANNOT_RUN);
}

/* Ends the program before a call that would make no sense. */
__attribute__((noreturn)) static void give_up(const char *why)
{
	printf("ended early: %s%s\n", why, first_mismatch);
	exit(mismatches ? REPRODUCED : CANNOT_RUN);
}

static void show(const char *call, long seen)
{
	last_call = call;
	if (seen == STOPPED) {
		printf("%s: not made, because it loads a component that XFD disables and can panic this host; use --go-on\n",
		       call);
		exit(verdict());
	}
	if (seen < 0)
		printf("%s = %ld (%s)\n", call, seen, strerror((int)-seen));
	else
		printf("%s = %ld\n", call, seen);
}

static int check(const char *call, long seen, long wanted)
{
	show(call, seen);
	checks++;
	if (seen == wanted)
		return 1;
	mismatches++;
	mismatch("expected %ld%s%s%s", wanted, wanted < 0 ? " (" : "", wanted < 0 ? strerror((int)-wanted) : "",
		 wanted < 0 ? ")" : "");
	return 0;
}

static void check_descriptor(const char *call, long seen)
{
	if (seen >= 0)
		printf("%s = a descriptor\n", call);
	else
		show(call, seen);
	checks++;
	if (seen >= 0)
		return;
	mismatches++;
	mismatch("expected a descriptor");
}

/* Bits in `open` are unspecified. */
static void expect_value(const char *name, uint64_t seen, uint64_t wanted, uint64_t open)
{
	printf("    %s = %#llx\n", name, (unsigned long long)seen);
	checks++;
	if (((seen ^ wanted) & ~open) == 0)
		return;
	mismatches++;
	mismatch("%s is %#llx, expected %#llx", name, (unsigned long long)seen, (unsigned long long)wanted);
}

/* Ends a program that hangs, also in KVM_RUN.  A mismatch found before counts as reproduced. */
static char too_late[96];

static void time_is_up(int number)
{
	(void)number;
	if (write(STDOUT_FILENO, too_late, strlen(too_late)) < 0)
		_exit(CANNOT_RUN);
	_exit(mismatches ? REPRODUCED : CANNOT_RUN);
}

static void end_within(unsigned int seconds, const char *otherwise)
{
	snprintf(too_late, sizeof(too_late), "%s within %u s\n", otherwise, seconds);
	signal(SIGALRM, time_is_up);
	alarm(seconds);
}

static uint64_t u16_at(const void *place)
{
	uint16_t value;

	memcpy(&value, place, sizeof(value));
	return value;
}

static uint64_t u32_at(const void *place)
{
	uint32_t value;

	memcpy(&value, place, sizeof(value));
	return value;
}

static uint64_t u64_at(const void *place)
{
	uint64_t value;

	memcpy(&value, place, sizeof(value));
	return value;
}

static void put_u16(void *place, uint16_t value)
{
	memcpy(place, &value, sizeof(value));
}

static void put_u32(void *place, uint32_t value)
{
	memcpy(place, &value, sizeof(value));
}

static void put_u64(void *place, uint64_t value)
{
	memcpy(place, &value, sizeof(value));
}

/* Recognizable content: 32-bit words that count up. */
static void put_counted(void *place, uint32_t first, size_t words)
{
	for (size_t i = 0; i < words; i++)
		put_u32((uint8_t *)place + 4 * i, first + (uint32_t)i);
}

/* ST0-ST7: normal numbers, all different. */
static void put_st_registers(uint8_t *image)
{
	for (int st = 0; st < 8; st++) {
		put_u64(image + XSAVE_ST + 16 * st, 0x8000000000000001ULL + (uint64_t)st);
		put_u16(image + XSAVE_ST + 16 * st + 8, (uint16_t)(0x3fff + st));
	}
}

/* Unspecified bits, the same in each byte of a range. */
struct open_bits {
	size_t offset, size;
	uint8_t bits;
};

/* The expected content of an output; fill() writes it over zeros. */
struct content {
	size_t size;
	void (*fill)(uint8_t *bytes);
	const struct open_bits *open;
	size_t opens;
};

enum { LARGEST_CONTENT = 1 << 16 };

/* Returns the expected content, with the observed value in each unspecified bit. */
static const uint8_t *made(const struct content *content, const uint8_t *seen)
{
	static uint8_t bytes[LARGEST_CONTENT];

	memset(bytes, 0, content->size);
	content->fill(bytes);
	for (const struct open_bits *open = content->open; open < content->open + content->opens; open++)
		for (size_t i = open->offset; i < open->offset + open->size; i++)
			bytes[i] = (uint8_t)((bytes[i] & ~open->bits) | (seen[i] & open->bits));
	return bytes;
}

static void print_bytes(const char *which, const uint8_t *bytes, size_t size)
{
	printf("      %s", which);
	for (size_t i = 0; i < size && i < 16; i++)
		printf(" %02x", bytes[i]);
	puts(size > 16 ? " ..." : "");
}

static void print_differences(const uint8_t *wanted, const uint8_t *seen, size_t size)
{
	enum { MOST = 8 };
	int shown = 0;

	for (size_t i = 0, end; i < size && shown < MOST; i = end) {
		for (end = i; end < size && wanted[end] != seen[end]; end++)
			;
		if (end == i) {
			end++;
			continue;
		}
		mismatch("bytes %zu-%zu", i, end - 1);
		print_bytes("expected", wanted + i, end - i);
		print_bytes("observed", seen + i, end - i);
		shown++;
	}
}

static void expect_bytes(const uint8_t *seen, const struct content *content)
{
	const uint8_t *wanted = made(content, seen);

	checks++;
	if (memcmp(wanted, seen, content->size) == 0)
		return;
	mismatches++;
	print_differences(wanted, seen, content->size);
}

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

/* A system call's result, or -errno. */
static long result_of(long returned)
{
	return returned < 0 ? -errno : returned;
}

static uint8_t *new_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		cannot_run("mmap of %zu bytes: %s", size, strerror(errno));
	return memory;
}

/* Returns `size` bytes that end directly before inaccessible memory. */
static uint8_t *at_page_end(size_t size)
{
	size_t whole = (size + 4095) / 4096 * 4096;
	uint8_t *memory = new_memory(whole + 4096);

	if (mprotect(memory + whole, 4096, PROT_NONE) < 0)
		cannot_run("mprotect: %s", strerror(errno));
	return memory + whole - size;
}

static long open_kvm(const char *device)
{
	return result_of(open(device, O_RDWR | O_CLOEXEC));
}

static struct kvm_run *map_run_area(int vcpu, size_t size)
{
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	return area == MAP_FAILED ? NULL : area;
}

/* Enters the guest once; copies the run area from exit_reason on.  Later entries synchronize no registers. */
static long run_once(int vcpu, struct kvm_run *area, uint8_t *output, size_t size)
{
	long result = result_of(ioctl(vcpu, KVM_RUN, 0));

	memcpy(output, &area->exit_reason, size);
	area->kvm_valid_regs = 0;
	area->kvm_dirty_regs = 0;
	return result;
}

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

static void need_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		cannot_run("/dev/kvm: %s", strerror(errno));
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2) <= 0)
		cannot_run("KVM has no KVM_CAP_XSAVE2; the kernel is older than Linux 5.17");
	close(kvm);
}

/* Checks which components KVM offers guests; all expected results depend on them. */
static void need_guest_components(uint64_t wanted)
{
	uint64_t offered = 0;
	struct kvm_device_attr attribute = {
		.attr = KVM_X86_XCOMP_GUEST_SUPP,
		.addr = (uintptr_t)&offered,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (ioctl(kvm, KVM_GET_DEVICE_ATTR, &attribute) < 0)
		cannot_run("KVM_GET_DEVICE_ATTR(KVM_X86_XCOMP_GUEST_SUPP): %s", strerror(errno));
	close(kvm);
	if (offered != wanted)
		cannot_run("KVM offers guests XCR0=%#llx here, not %#llx%s", (unsigned long long)offered,
			   (unsigned long long)wanted, wanted & ~offered & 1ULL << 18 ? " (no AMX)" : "");
}

static void need_component(unsigned int nr, unsigned int offset, unsigned int size)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid_count(0xd, nr, eax, ebx, ecx, edx);
	(void)ecx, (void)edx;
	if (eax != size || ebx != offset)
		cannot_run("on this CPU component %u has offset %u and size %u, not offset %u and size %u", nr, ebx, eax,
			   offset, size);
}

static void need_mxcsr_mask(uint32_t wanted)
{
	static struct { uint8_t bytes[512]; } area __attribute__((aligned(16)));
	uint32_t mask;

	__asm__ volatile("fxsave %0" : "=m"(area));
	mask = (uint32_t)u32_at(area.bytes + XSAVE_MXCSR_MASK);
	if ((mask ? mask : 0xffbf) != wanted)
		cannot_run("MXCSR_MASK is %#x on this CPU, not %#x", mask, wanted);
}

static int go_on;

/*
 * XRSTOR of a component that is in XSTATE_BV and that XFD disables raises #NM, here in the host (SDM vol.1 13.14 "Extended
 * Feature Disable (XFD)").  A kernel that allows such a guest fpstate panics when it loads it.
 */
static int load_is_fatal(int vcpu)
{
	static union {
		struct kvm_xsave xsave;
		uint8_t bytes[1 << 16];
	} image;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[1];
	} xfd = { .head.nmsrs = 1, .entries = { { .index = MSR_IA32_XFD } } };

	if (go_on || ioctl(vcpu, KVM_GET_XSAVE2, &image) < 0 || ioctl(vcpu, KVM_GET_MSRS, &xfd) != 1)
		return 0;
	return (u64_at(image.bytes + XSAVE_XSTATE_BV) & xfd.entries[0].data) != 0;
}

static int kvm = -1;
static int vm = -1;
static int vcpu0 = -1;
static int vcpu2 = -1;
static struct kvm_run *vcpu2_run;
static size_t run_size;
static uint8_t kept_supported_cpuid[10248];
static uint8_t kept_read_back_cpuid[10248];
static uint8_t kept_sregs[312];
static uint8_t get_supported_cpuid_out[10248];
static uint8_t get_cpuid2_out[10248];
static uint8_t set_one_reg_out[24];
static uint8_t get_one_reg_out[24];
static uint8_t get_reg_list_out[3496];
static uint8_t get_reg_list_2_out[72];
static uint8_t set_one_reg_2_out[24];
static uint8_t get_one_reg_2_out[24];
static uint8_t get_sregs_out[312];
static uint8_t get_vcpu_events_out[64];
static uint8_t get_fpu_out[416];
static uint8_t run_vcpu_immediate_exit_out[4];
static uint8_t get_one_reg_3_out[24];
static uint8_t get_xsave_out[4160];
static uint8_t get_one_reg_4_out[24];
static uint8_t get_reg_list_3_out[3208];
static uint8_t get_cpuid2_2_out[10248];
static uint8_t get_one_reg_5_out[24];
static uint8_t get_msrs_out[40];

static void fill_expected_16(uint8_t *bytes)
{
	put_u32(bytes + 0x80, 0x37f);
}

static const struct content expected_16 = { 416, fill_expected_16, NULL, 0 };

static long open_device(void)
{
	long fd = open_kvm("/dev/kvm");

	if (fd >= 0) {
		kvm = (int)fd;
		run_size = (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	}
	return fd;
}

static long create_vm(void)
{
	long fd = result_of(ioctl(kvm, KVM_CREATE_VM, 0UL));

	if (fd >= 0)
		vm = (int)fd;
	return fd;
}

static long map_memory(void)
{
	static uint8_t memory[4083];

	memcpy(memory + 0xff0, (const uint8_t[]){ 0xf4, 0xeb, 0xfd }, 3);
	return set_memory(vm, 0, 0xfffff000ULL, memory, sizeof(memory));
}

static long create_vcpu(void)
{
	long fd = result_of(ioctl(vm, KVM_CREATE_VCPU, 0UL));

	if (fd >= 0)
		vcpu0 = (int)fd;
	return fd;
}

static long get_supported_cpuid(void)
{
	memset(get_supported_cpuid_out, CANARY, 10248);
	memset(get_supported_cpuid_out, 0, 8);
	put_u32(get_supported_cpuid_out + 0, 0x100);
	return result_of(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, get_supported_cpuid_out));
}

static long set_cpuid2(void)
{
	return result_of(ioctl(vcpu0, KVM_SET_CPUID2, kept_supported_cpuid));
}

static long get_cpuid2(void)
{
	memset(get_cpuid2_out, 0, 10248);
	put_u32(get_cpuid2_out + 0, 0x100);
	return result_of(ioctl(vcpu0, KVM_GET_CPUID2, get_cpuid2_out));
}

static long set_cpuid2_2(void)
{
	return result_of(ioctl(vcpu0, KVM_SET_CPUID2, kept_read_back_cpuid));
}

static long set_one_reg(void)
{
	memset(set_one_reg_out, 0, 24);
	put_u32(set_one_reg_out + 0, 0x1dc);
	put_u32(set_one_reg_out + 4, 0x20300002);
	put_u32(set_one_reg_out + 0x10, 0x80);
	put_u64(set_one_reg_out + 8, (uintptr_t)(set_one_reg_out + 16));
	return result_of(ioctl(vcpu0, KVM_SET_ONE_REG, set_one_reg_out));
}

static long set_xsave(void)
{
	static uint8_t bytes[11008];

	put_u16(bytes + XSAVE_FCW, 0x27f);
	put_u32(bytes + 2, 0xff0000);
	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	put_st_registers(bytes);
	put_counted(bytes + XSAVE_XMM, 0x81000001, 64);
	put_u64(bytes + XSAVE_XSTATE_BV, XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM);
	put_counted(bytes + XSAVE_YMM, 0x82000001, 64);
	return result_of(ioctl(vcpu0, KVM_SET_XSAVE, bytes));
}

static long get_one_reg(void)
{
	memset(get_one_reg_out, CANARY, 24);
	memset(get_one_reg_out, 0, 16);
	put_u32(get_one_reg_out + 0, 0x10a);
	put_u32(get_one_reg_out + 4, 0x20300002);
	put_u64(get_one_reg_out + 8, (uintptr_t)(get_one_reg_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_out));
}

static long get_reg_list(void)
{
	memset(get_reg_list_out, CANARY, 3496);
	memset(get_reg_list_out, 0, 8);
	put_u32(get_reg_list_out + 0, 0x1b4);
	return result_of(ioctl(vcpu0, KVM_GET_REG_LIST, get_reg_list_out));
}

static long get_reg_list_2(void)
{
	memset(get_reg_list_2_out, CANARY, 72);
	memset(get_reg_list_2_out, 0, 8);
	put_u32(get_reg_list_2_out + 0, 8);
	return result_of(ioctl(vcpu0, KVM_GET_REG_LIST, get_reg_list_2_out));
}

static long set_one_reg_2(void)
{
	memset(set_one_reg_2_out, 0, 24);
	put_u32(set_one_reg_2_out + 0, 0xda0);
	put_u32(set_one_reg_2_out + 4, 0x20300002);
	put_u64(set_one_reg_2_out + 8, (uintptr_t)(set_one_reg_2_out + 16));
	return result_of(ioctl(vcpu0, KVM_SET_ONE_REG, set_one_reg_2_out));
}

static long set_cpuid2_3(void)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[16];
	} argument = {
		.head = { .nent = 16 },
		.entries = {
			{ .function = 0x1, .index = 0, .eax = 0x806f8, .ecx = 0x14000020, .edx = 0x7000040 },
			{ .function = 0x7, .index = 0, .flags = 1, .ebx = 0x10020, .edx = 0x3400000 },
			{ .function = 0xd, .index = 0, .flags = 1, .eax = 0x600e7, .ebx = 0x2b00, .ecx = 0x2b00 },
			{ .function = 0xd, .index = 1, .flags = 1, .eax = 0x1f, .ebx = 0x2a00 },
			{ .function = 0xd, .index = 2, .flags = 1, .eax = 0x100, .ebx = 0x240 },
			{ .function = 0xd, .index = 5, .flags = 1, .eax = 0x40, .ebx = 0x440 },
			{ .function = 0xd, .index = 6, .flags = 1, .eax = 0x200, .ebx = 0x480 },
			{ .function = 0xd, .index = 7, .flags = 1, .eax = 0x400, .ebx = 0x680 },
			{ .function = 0xd, .index = 9, .flags = 1, .eax = 0x8, .ebx = 0xa80 },
			{ .function = 0xd, .index = 17, .flags = 1, .eax = 0x40, .ebx = 0xac0, .ecx = 0x2 },
			{ .function = 0xd, .index = 18, .flags = 1, .eax = 0x2000, .ebx = 0xb00, .ecx = 0x6 },
			{ .function = 0x1d, .index = 0, .flags = 1, .eax = 0x1 },
			{ .function = 0x1d, .index = 1, .flags = 1, .eax = 0x4002000, .ebx = 0x80040, .ecx = 0x10 },
			{ .function = 0x1e, .index = 0, .flags = 1, .ebx = 0x4010 },
			{ .function = 0x80000001, .index = 0, .ecx = 0x1, .edx = 0x20100000 },
			{ .function = 0x80000008, .index = 0, .eax = 0x302e },
		},
	};

	return result_of(ioctl(vcpu0, KVM_SET_CPUID2, &argument));
}

static long get_one_reg_2(void)
{
	memset(get_one_reg_2_out, CANARY, 24);
	memset(get_one_reg_2_out, 0, 16);
	put_u32(get_one_reg_2_out + 0, 0x4b564d02);
	put_u32(get_one_reg_2_out + 4, 0x20300002);
	put_u64(get_one_reg_2_out + 8, (uintptr_t)(get_one_reg_2_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_2_out));
}

static long get_sregs(void)
{
	memset(get_sregs_out, CANARY, 312);
	return result_of(ioctl(vcpu0, KVM_GET_SREGS, get_sregs_out));
}

static long set_sregs(void)
{
	static uint8_t bytes[312];

	memcpy(bytes, kept_sregs, 312);
	put_u64(bytes + 248, 0x840620);
	return result_of(ioctl(vcpu0, KVM_SET_SREGS, bytes));
}

static long create_vcpu_vcpu2(void)
{
	long fd = result_of(ioctl(vm, KVM_CREATE_VCPU, 0UL));

	if (fd >= 0) {
		vcpu2 = (int)fd;
		vcpu2_run = map_run_area(vcpu2, run_size);
	}
	return fd;
}

static long set_xsave_2(void)
{
	uint8_t *bytes = at_page_end(11008);

	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	put_u64(bytes + XSAVE_XSTATE_BV, XFEATURE_MASK_YMM);
	put_counted(bytes + XSAVE_YMM, 0x82000001, 64);
	return result_of(ioctl(vcpu0, KVM_SET_XSAVE, bytes));
}

static long get_vcpu_events(void)
{
	memset(get_vcpu_events_out, CANARY, 64);
	return result_of(ioctl(vcpu0, KVM_GET_VCPU_EVENTS, get_vcpu_events_out));
}

static long get_fpu(void)
{
	memset(get_fpu_out, CANARY, 416);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_out));
}

static long run_vcpu_immediate_exit(void)
{
	if (!vcpu2_run)
		give_up("there is no vCPU to run");
	if (load_is_fatal(vcpu2))
		return STOPPED;
	vcpu2_run->immediate_exit = 1;
	return run_once(vcpu2, vcpu2_run, run_vcpu_immediate_exit_out, 4);
}

static long get_one_reg_3(void)
{
	memset(get_one_reg_3_out, CANARY, 24);
	memset(get_one_reg_3_out, 0, 16);
	put_u32(get_one_reg_3_out + 4, 0x800000);
	put_u64(get_one_reg_3_out + 8, (uintptr_t)(get_one_reg_3_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_3_out));
}

static long get_xsave(void)
{
	memset(get_xsave_out, CANARY, 4160);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE, get_xsave_out));
}

static long get_one_reg_4(void)
{
	memset(get_one_reg_4_out, CANARY, 24);
	memset(get_one_reg_4_out, 0, 16);
	put_u32(get_one_reg_4_out + 0, 0xda0);
	put_u32(get_one_reg_4_out + 4, 0x20300002);
	put_u64(get_one_reg_4_out + 8, (uintptr_t)(get_one_reg_4_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_4_out));
}

static long get_reg_list_3(void)
{
	memset(get_reg_list_3_out, CANARY, 3208);
	memset(get_reg_list_3_out, 0, 8);
	put_u32(get_reg_list_3_out + 0, 0x190);
	return result_of(ioctl(vcpu0, KVM_GET_REG_LIST, get_reg_list_3_out));
}

static long get_cpuid2_2(void)
{
	memset(get_cpuid2_2_out, 0, 10248);
	put_u32(get_cpuid2_2_out + 0, 0x40000);
	return result_of(ioctl(vcpu0, KVM_GET_CPUID2, get_cpuid2_2_out));
}

static long get_one_reg_5(void)
{
	memset(get_one_reg_5_out, CANARY, 24);
	memset(get_one_reg_5_out, 0, 16);
	put_u32(get_one_reg_5_out + 0, 0x1000);
	put_u64(get_one_reg_5_out + 8, (uintptr_t)(get_one_reg_5_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_5_out));
}

static long get_msrs(void)
{
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} argument = {
		.head = { .nmsrs = 2 },
		.entries = {
			{ .index = MSR_IA32_XFD, .data = 0 },
			{ .index = MSR_IA32_XFD_ERR, .data = 0 },
		},
	};

	memcpy(get_msrs_out, &argument, 40);
	return result_of(ioctl(vcpu0, KVM_GET_MSRS, get_msrs_out));
}

/*
 * Step 0: open(/dev/kvm)
 * Expected: a descriptor.
 * open(/dev/kvm) returns a descriptor: fs/open.c: do_sys_openat2
 */
static void step_0(void)
{
	long ret;

	ret = open_device();
	check_descriptor("0 open(/dev/kvm)", ret);
}

/*
 * Step 1: KVM_CREATE_VM
 * Expected: a descriptor.
 * KVM_CREATE_VM does not freeze guest permission: virt/kvm/kvm_main.c: kvm_dev_ioctl_create_vm
 */
static void step_1(void)
{
	long ret;

	ret = create_vm();
	check_descriptor("1 KVM_CREATE_VM", ret);
}

/*
 * Step 2: KVM_SET_USER_MEMORY_REGION
 * Expected: 0.
 * memory slots do not overlap, and a slot in use keeps its memory: virt/kvm/kvm_main.c: kvm_set_memory_region
 */
static void step_2(void)
{
	long ret;

	ret = map_memory();
	check("2 KVM_SET_USER_MEMORY_REGION", ret, 0);
}

/*
 * Step 3: KVM_CREATE_VCPU
 * Expected: a descriptor.
 * KVM_CREATE_VCPU freezes guest permission and makes a fpstate in its initial state: arch/x86/kernel/fpu/core.c:
 * fpu_alloc_guest_fpstate
 */
static void step_3(void)
{
	long ret;

	ret = create_vcpu();
	check_descriptor("3 KVM_CREATE_VCPU", ret);
}

/*
 * Step 4: KVM_GET_SUPPORTED_CPUID
 * Expected: 0.
 * supported CPUID follows guest permission in leaf 0xD, not in leaves 7, 0x1D and 0x1E: arch/x86/kvm/cpuid.c:
 * __do_cpuid_func.  Not judged where it depends on the features and MSRs that CPU and KVM have
 */
static void step_4(void)
{
	long ret;

	ret = get_supported_cpuid();
	if (check("4 KVM_GET_SUPPORTED_CPUID", ret, 0)) {
		expect_value("0xD.0:EDX:EAX", cpuid_xcr0(get_supported_cpuid_out), 0x2e7, 0);
		expect_value("0xD.0:ECX", cpuid_entry(get_supported_cpuid_out, 0xd, 0).ecx, 0xa88, 0);
	}
	if (ret >= 0)
		memcpy(kept_supported_cpuid, get_supported_cpuid_out, 10248);
	else
		give_up("there is nothing to restore");
}

/*
 * Step 5: KVM_SET_CPUID2(supported)
 * Expected: 0.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_5(void)
{
	long ret;

	ret = set_cpuid2();
	check("5 KVM_SET_CPUID2(supported)", ret, 0);
}

/*
 * Step 6: KVM_CREATE_VM
 * Expected: a descriptor.
 * KVM_CREATE_VM does not freeze guest permission: virt/kvm/kvm_main.c: kvm_dev_ioctl_create_vm
 */
static void step_6(void)
{
	long ret;

	ret = create_vm();
	check_descriptor("6 KVM_CREATE_VM", ret);
}

/*
 * Step 7: KVM_GET_CPUID2
 * Expected: 0.
 * KVM_GET_CPUID2 returns what was set, and what follows XCR0, XSS and CR4 is current: arch/x86/kvm/cpuid.c:
 * kvm_update_cpuid_runtime.  Not judged where it depends on GET_CPUID2_KEEPS_NENT, the features and MSRs that CPU
 * and KVM have
 */
static void step_7(void)
{
	long ret;

	ret = get_cpuid2();
	if (check("7 KVM_GET_CPUID2", ret, 0)) {
		expect_value("0xD.0:EDX:EAX", cpuid_xcr0(get_cpuid2_out), 0x2e7, 0);
		expect_value("0xD.0:EBX", cpuid_entry(get_cpuid2_out, 0xd, 0).ebx, 0x240, 0);
		expect_value("0xD.1:EBX", cpuid_entry(get_cpuid2_out, 0xd, 1).ebx, 0x240, 0);
		expect_value("1:ECX.OSXSAVE", cpuid_osxsave(get_cpuid2_out), 0, 0);
	}
	if (ret >= 0)
		memcpy(kept_read_back_cpuid, get_cpuid2_out, 10248);
	else
		give_up("there is nothing to restore");
}

/*
 * Step 8: KVM_SET_CPUID2(read-back)
 * Expected: 0.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_8(void)
{
	long ret;

	ret = set_cpuid2_2();
	check("8 KVM_SET_CPUID2(read-back)", ret, 0);
}

/*
 * Step 9: KVM_SET_ONE_REG(0x20300002000001dc, 0x80)
 * Expected: differs between correct kernels.
 * KVM_SET_ONE_REG writes an MSR as KVM_SET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg
 */
static void step_9(void)
{
	long ret;

	ret = set_one_reg();
	show("9 KVM_SET_ONE_REG(0x20300002000001dc, 0x80)", ret);
}

/*
 * Step 10: KVM_SET_XSAVE XSTATE_BV=0x7 (FP|SSE|YMM)
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_10(void)
{
	long ret;

	ret = set_xsave();
	check("10 KVM_SET_XSAVE XSTATE_BV=0x7 (FP|SSE|YMM)", ret, 0);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg();
	show("10.1 KVM_GET_ONE_REG(0x203000020000010a)", ret);

	/*
	 * KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list.  Not judged where it
	 * depends on ONE_REG_MSRS
	 */
	ret = get_reg_list();
	show("10.2 KVM_GET_REG_LIST", ret);

	/*
	 * KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list.  Not judged where it
	 * depends on ONE_REG_MSRS
	 */
	ret = get_reg_list_2();
	show("10.3 KVM_GET_REG_LIST", ret);
}

/*
 * Step 11: KVM_SET_ONE_REG(0x2030000200000da0, 0x0)
 * Expected: differs between correct kernels.
 * KVM_SET_ONE_REG writes an MSR as KVM_SET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg.
 * Not judged where it depends on ONE_REG_MSRS
 */
static void step_11(void)
{
	long ret;

	ret = set_one_reg_2();
	show("11 KVM_SET_ONE_REG(0x2030000200000da0, 0x0)", ret);
}

/*
 * Step 12: KVM_SET_CPUID2(no-pku)
 * Expected: differs between correct kernels.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_12(void)
{
	long ret;

	ret = set_cpuid2_3();
	show("12 KVM_SET_CPUID2(no-pku)", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg_2();
	show("12.1 KVM_GET_ONE_REG(0x203000024b564d02)", ret);
}

/*
 * Step 13: KVM_GET_SREGS
 * Expected: differs between correct kernels.
 * KVM_GET_SREGS returns the last accepted control registers: arch/x86/kvm/x86.c: __get_sregs_common
 */
static void step_13(void)
{
	long ret;

	ret = get_sregs();
	show("13 KVM_GET_SREGS", ret);
	if (ret >= 0)
		memcpy(kept_sregs, get_sregs_out, 312);
}

/*
 * Step 14: KVM_SET_SREGS CR4=0x840620
 * Expected: differs between correct kernels.
 * KVM_SET_SREGS writes every register; CR4 is within the features of KVM and the guest's CPUID:
 * arch/x86/kvm/x86.c: kvm_is_valid_sregs
 */
static void step_14(void)
{
	long ret;

	ret = set_sregs();
	show("14 KVM_SET_SREGS CR4=0x840620", ret);
}

/*
 * Step 15: KVM_CREATE_VCPU
 * Expected: a descriptor.
 * KVM_CREATE_VCPU freezes guest permission and makes a fpstate in its initial state: arch/x86/kernel/fpu/core.c:
 * fpu_alloc_guest_fpstate
 */
static void step_15(void)
{
	long ret;

	ret = create_vcpu_vcpu2();
	check_descriptor("15 KVM_CREATE_VCPU", ret);
}

/*
 * Step 16: KVM_SET_XSAVE XSTATE_BV=0x4 (YMM), 19685 bytes
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_16(void)
{
	long ret;

	ret = set_xsave_2();
	check("16 KVM_SET_XSAVE XSTATE_BV=0x4 (YMM), 19685 bytes", ret, 0);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_vcpu_events();
	show("16.1 KVM_GET_VCPU_EVENTS", ret);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu();
	if (check("16.2 KVM_GET_FPU", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_out + 128), 0x37f, 0);
		expect_bytes(get_fpu_out + 0, &expected_16);
	}
}

/*
 * Step 17: KVM_RUN(immediate_exit) on vcpu2
 * Expected: differs between correct kernels.
 * KVM_RUN with immediate_exit loads and saves the guest FPU: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run
 */
static void step_17(void)
{
	long ret;

	ret = run_vcpu_immediate_exit();
	show("17 KVM_RUN(immediate_exit) on vcpu2", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg_3();
	show("17.1 KVM_GET_ONE_REG(0x80000000000000)", ret);

	/* KVM_GET_XSAVE works until the image is larger than 4096 bytes: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_xsave();
	show("17.2 KVM_GET_XSAVE", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg_4();
	show("17.3 KVM_GET_ONE_REG(0x2030000200000da0)", ret);

	/* KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list */
	ret = get_reg_list_3();
	show("17.4 KVM_GET_REG_LIST", ret);

	/*
	 * KVM_GET_CPUID2 returns what was set, and what follows XCR0, XSS and CR4 is current: arch/x86/kvm/cpuid.c:
	 * kvm_update_cpuid_runtime
	 */
	ret = get_cpuid2_2();
	show("17.5 KVM_GET_CPUID2(nent=262144)", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg_5();
	show("17.6 KVM_GET_ONE_REG(0x1000)", ret);

	/* KVM_GET_MSRS returns the last accepted XFD and XFD_ERR: arch/x86/kvm/x86.c: kvm_get_msr_common */
	ret = get_msrs();
	show("17.7 KVM_GET_MSRS", ret);
}

int main(int argc, char **argv)
{
	go_on = argc > 1 && strcmp(argv[1], "--go-on") == 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	end_within(60, "ended early: did not end");
	need_kvm();
	need_guest_components(0x602e7);
	need_component(2, XSAVE_YMM, 256);
	need_mxcsr_mask(0xffff);
	step_0();
	step_1();
	step_2();
	step_3();
	step_4();
	step_5();
	step_6();
	step_7();
	step_8();
	step_9();
	step_10();
	step_11();
	step_12();
	step_13();
	step_14();
	step_15();
	step_16();
	step_17();
	return verdict();
}
