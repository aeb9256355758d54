// SPDX-License-Identifier: MIT
/*
 * fuzz.5.254
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
#define MSR_IA32_XFD 0x1c4
#define MSR_IA32_U_CET 0x6a0
#define XSAVE_FCW 0
#define XSAVE_MXCSR 24
#define XSAVE_MXCSR_MASK 28
#define XSAVE_ST 32
#define XSAVE_XMM 160
#define XSAVE_SOFTWARE 464
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

static uint64_t u8_at(const void *place)
{
	return *(const uint8_t *)place;
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

/* Checks that a buffer of `size` bytes has one of these XSAVE images, and that no further byte was written. */
static void expect_image(const uint8_t *seen, size_t size, const struct content *const *choices, size_t count)
{
	size_t end = size;

	printf("    XSTATE_BV = %#llx\n", (unsigned long long)u64_at(seen + XSAVE_XSTATE_BV));
	checks++;
	while (end > 0 && seen[end - 1] == CANARY)
		end--;
	for (size_t i = 0; i < count; i++)
		if (end <= choices[i]->size && memcmp(made(choices[i], seen), seen, choices[i]->size) == 0)
			return;
	mismatches++;
	if (end > choices[0]->size)
		mismatch("the kernel wrote %zu bytes, expected %zu", end, choices[0]->size);
	print_differences(made(choices[0], seen), seen, choices[0]->size);
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
static uint8_t kept_kvm_mp_state[4];
static uint8_t get_supported_cpuid_out[10248];
static uint8_t get_mp_state_out[4];
static uint8_t get_vcpu_events_out[64];
static uint8_t get_msrs_out[24];
static uint8_t get_debugregs_out[128];
static uint8_t *get_xsave_out;
static uint8_t *get_fpu_out;
static uint8_t get_one_reg_out[24];
static uint8_t get_xcrs_out[392];

static void fill_expected_11(uint8_t *bytes)
{
	put_u16(bytes + XSAVE_FCW, 0x27f);
	put_u32(bytes + 2, 0xfd0000);
	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	memcpy(bytes + XSAVE_ST, (const uint8_t[]){
		0xa6, 0xf5, 0xb2, 0x7d, 0x98, 0x71, 0x99, 0x4a, 0xfb, 0xc6, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xe2, 0x57, 0x3a, 0x19, 0x01, 0x6f, 0x27, 0x1b, 0xf6, 0x50, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x2b, 0xf9, 0x88, 0x55, 0x62, 0xb0, 0xea, 0xcb, 0x2f, 0x58, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xb2, 0x62, 0x5e, 0xb8, 0xb4, 0xbd, 0x09, 0x3e, 0xfc, 0x83, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x09, 0x69, 0xc5, 0x00, 0xee, 0xe3, 0x77, 0x9c, 0x88, 0xd3, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xaf, 0x3f, 0x59, 0xdb, 0xf4, 0x9b, 0xc9, 0x81, 0x45, 0xe2, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x2c, 0xaa, 0xe4, 0x88, 0x3d, 0x5d, 0xbc, 0x30, 0xa7, 0x21, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x31, 0x45, 0x5b, 0x63, 0x6b, 0x7b, 0x33, 0x93, 0x86, 0x4e, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	}, 128);
	memcpy(bytes + XSAVE_XMM, (const uint8_t[]){
		0x00, 0xf4, 0x87, 0xc8, 0x26, 0x8d, 0x05, 0x92, 0xa4, 0x99, 0x02, 0x1d, 0xff, 0xe2, 0x6d, 0xd2,
	0x8e, 0x5f, 0x4a, 0xd9, 0xd4, 0xf9, 0x3e, 0xdb, 0x88, 0xf8, 0x2a, 0x4d, 0xc0, 0xfa, 0xfb, 0xc9,
	0x61, 0xd6, 0xf7, 0xab, 0xf6, 0x72, 0x51, 0x98, 0x4b, 0x19, 0xe5, 0x61, 0xfc, 0xc4, 0x2d, 0x71,
	0x35, 0x3b, 0xb9, 0x24, 0x00, 0xad, 0x8c, 0x0d, 0x4d, 0x6c, 0xb3, 0xa0, 0x1c, 0x49, 0x95, 0x90,
	0xf7, 0x09, 0xe0, 0x3d, 0x99, 0xfc, 0xc3, 0xd6, 0x21, 0x5e, 0x4b, 0xfc, 0x32, 0x59, 0x69, 0xc0,
	0x62, 0xd9, 0x0c, 0x98, 0xd3, 0xe7, 0xf2, 0x56, 0x56, 0x9b, 0x45, 0x84, 0xf6, 0x23, 0xc0, 0x63,
	0xeb, 0xd8, 0x37, 0xdb, 0xd5, 0xb5, 0xf4, 0xb3, 0x72, 0x80, 0x16, 0x26, 0x8d, 0x5b, 0xd7, 0x19,
	0xca, 0x6b, 0xb2, 0xfd, 0xce, 0x48, 0x33, 0xe7, 0x8a, 0x6e, 0xee, 0x08, 0x4f, 0x8c, 0xf0, 0x22,
	0x02, 0x30, 0x0c, 0x3b, 0x6a, 0xc5, 0x96, 0x95, 0x9e, 0x78, 0x6b, 0x86, 0x58, 0x3c, 0xea, 0x75,
	0x9b, 0xdb, 0x89, 0xf9, 0xb3, 0x7e, 0x71, 0x50, 0x00, 0x75, 0x3f, 0x86, 0xb8, 0x3d, 0x26, 0x19,
	0x34, 0xa3, 0x4a, 0xff, 0x37, 0xcf, 0x3e, 0x11, 0x6b, 0x86, 0x31, 0xdb, 0x35, 0x7f, 0x61, 0x05,
	0x6f, 0xd3, 0xb6, 0x2d, 0xb4, 0xe7, 0x0d, 0x15, 0x24, 0x63, 0x1a, 0x33, 0x77, 0xa0, 0xa8, 0x35,
	0xc8, 0x08, 0x1c, 0x0b, 0x69, 0x4d, 0x33, 0x5c, 0x9a, 0x7b, 0xf0, 0xf3, 0x04, 0xf1, 0x07, 0x23,
	0xe6, 0x71, 0xee, 0xf7, 0x46, 0x07, 0xc5, 0x1b, 0xa2, 0xda, 0x8d, 0x65, 0xa7, 0x3a, 0xb4, 0x5b,
	0x70, 0x0e, 0x30, 0x80, 0x10, 0x9f, 0x49, 0x9c, 0x10, 0x40, 0x29, 0x2c, 0x01, 0x62, 0x0c, 0x60,
	0x24, 0xfd, 0x62, 0xb6, 0x30, 0x21, 0xfa, 0x73, 0xb6, 0x2b, 0x20, 0xcc, 0xa9, 0x04, 0xb0, 0x75,
	}, 256);
	put_u32(bytes + XSAVE_SOFTWARE, 0x602e7);
	put_u64(bytes + XSAVE_XSTATE_BV, XFEATURE_MASK_FP | XFEATURE_MASK_SSE);
}

static const struct content expected_11 = { 4096, fill_expected_11, NULL, 0 };

static void fill_expected_11_2(uint8_t *bytes)
{
	memcpy(bytes, (const uint8_t[]){
		0xa6, 0xf5, 0xb2, 0x7d, 0x98, 0x71, 0x99, 0x4a, 0xfb, 0xc6, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xe2, 0x57, 0x3a, 0x19, 0x01, 0x6f, 0x27, 0x1b, 0xf6, 0x50, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x2b, 0xf9, 0x88, 0x55, 0x62, 0xb0, 0xea, 0xcb, 0x2f, 0x58, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xb2, 0x62, 0x5e, 0xb8, 0xb4, 0xbd, 0x09, 0x3e, 0xfc, 0x83, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x09, 0x69, 0xc5, 0x00, 0xee, 0xe3, 0x77, 0x9c, 0x88, 0xd3, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xaf, 0x3f, 0x59, 0xdb, 0xf4, 0x9b, 0xc9, 0x81, 0x45, 0xe2, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x2c, 0xaa, 0xe4, 0x88, 0x3d, 0x5d, 0xbc, 0x30, 0xa7, 0x21, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x31, 0x45, 0x5b, 0x63, 0x6b, 0x7b, 0x33, 0x93, 0x86, 0x4e, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x7f, 0x02, 0x00, 0x00, 0xfd, 0x00, 0x00, 0x00,
	}, 136);
	memcpy(bytes + 0x98, (const uint8_t[]){
		0x00, 0xf4, 0x87, 0xc8, 0x26, 0x8d, 0x05, 0x92, 0xa4, 0x99, 0x02, 0x1d, 0xff, 0xe2, 0x6d, 0xd2,
	0x8e, 0x5f, 0x4a, 0xd9, 0xd4, 0xf9, 0x3e, 0xdb, 0x88, 0xf8, 0x2a, 0x4d, 0xc0, 0xfa, 0xfb, 0xc9,
	0x61, 0xd6, 0xf7, 0xab, 0xf6, 0x72, 0x51, 0x98, 0x4b, 0x19, 0xe5, 0x61, 0xfc, 0xc4, 0x2d, 0x71,
	0x35, 0x3b, 0xb9, 0x24, 0x00, 0xad, 0x8c, 0x0d, 0x4d, 0x6c, 0xb3, 0xa0, 0x1c, 0x49, 0x95, 0x90,
	0xf7, 0x09, 0xe0, 0x3d, 0x99, 0xfc, 0xc3, 0xd6, 0x21, 0x5e, 0x4b, 0xfc, 0x32, 0x59, 0x69, 0xc0,
	0x62, 0xd9, 0x0c, 0x98, 0xd3, 0xe7, 0xf2, 0x56, 0x56, 0x9b, 0x45, 0x84, 0xf6, 0x23, 0xc0, 0x63,
	0xeb, 0xd8, 0x37, 0xdb, 0xd5, 0xb5, 0xf4, 0xb3, 0x72, 0x80, 0x16, 0x26, 0x8d, 0x5b, 0xd7, 0x19,
	0xca, 0x6b, 0xb2, 0xfd, 0xce, 0x48, 0x33, 0xe7, 0x8a, 0x6e, 0xee, 0x08, 0x4f, 0x8c, 0xf0, 0x22,
	0x02, 0x30, 0x0c, 0x3b, 0x6a, 0xc5, 0x96, 0x95, 0x9e, 0x78, 0x6b, 0x86, 0x58, 0x3c, 0xea, 0x75,
	0x9b, 0xdb, 0x89, 0xf9, 0xb3, 0x7e, 0x71, 0x50, 0x00, 0x75, 0x3f, 0x86, 0xb8, 0x3d, 0x26, 0x19,
	0x34, 0xa3, 0x4a, 0xff, 0x37, 0xcf, 0x3e, 0x11, 0x6b, 0x86, 0x31, 0xdb, 0x35, 0x7f, 0x61, 0x05,
	0x6f, 0xd3, 0xb6, 0x2d, 0xb4, 0xe7, 0x0d, 0x15, 0x24, 0x63, 0x1a, 0x33, 0x77, 0xa0, 0xa8, 0x35,
	0xc8, 0x08, 0x1c, 0x0b, 0x69, 0x4d, 0x33, 0x5c, 0x9a, 0x7b, 0xf0, 0xf3, 0x04, 0xf1, 0x07, 0x23,
	0xe6, 0x71, 0xee, 0xf7, 0x46, 0x07, 0xc5, 0x1b, 0xa2, 0xda, 0x8d, 0x65, 0xa7, 0x3a, 0xb4, 0x5b,
	0x70, 0x0e, 0x30, 0x80, 0x10, 0x9f, 0x49, 0x9c, 0x10, 0x40, 0x29, 0x2c, 0x01, 0x62, 0x0c, 0x60,
	0x24, 0xfd, 0x62, 0xb6, 0x30, 0x21, 0xfa, 0x73, 0xb6, 0x2b, 0x20, 0xcc, 0xa9, 0x04, 0xb0, 0x75,
	}, 256);
}

static const struct content expected_11_2 = { 416, fill_expected_11_2, NULL, 0 };

static long open_device(void)
{
	long fd = open_kvm("/dev/kvm");

	if (fd >= 0)
		kvm = (int)fd;
	return fd;
}

static long create_vm(void)
{
	long fd = result_of(ioctl(kvm, KVM_CREATE_VM, 0UL));

	if (fd >= 0)
		vm = (int)fd;
	return fd;
}

static long create_irqchip(void)
{
	return result_of(ioctl(vm, KVM_CREATE_IRQCHIP, 0UL));
}

static long map_memory(void)
{
	static uint8_t memory[4082];

	memcpy(memory + 0xff0, (const uint8_t[]){ 0xe6, 0x80 }, 2);
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

static long get_mp_state(void)
{
	memset(get_mp_state_out, CANARY, 4);
	return result_of(ioctl(vcpu0, KVM_GET_MP_STATE, get_mp_state_out));
}

static long set_mp_state(void)
{
	static uint8_t bytes[4];

	memcpy(bytes, kept_kvm_mp_state, 4);
	put_u32(bytes + 0, 1);
	return result_of(ioctl(vcpu0, KVM_SET_MP_STATE, bytes));
}

static long get_vcpu_events(void)
{
	memset(get_vcpu_events_out, CANARY, 64);
	return result_of(ioctl(vcpu0, KVM_GET_VCPU_EVENTS, get_vcpu_events_out));
}

static long get_msrs(void)
{
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[1];
	} argument = {
		.head = { .nmsrs = 1 },
		.entries = {
			{ .index = MSR_IA32_U_CET, .data = 0 },
		},
	};

	memcpy(get_msrs_out, &argument, 24);
	if (load_is_fatal(vcpu0))
		return STOPPED;
	return result_of(ioctl(vcpu0, KVM_GET_MSRS, get_msrs_out));
}

static long get_debugregs(void)
{
	memset(get_debugregs_out, CANARY, 128);
	return result_of(ioctl(vcpu0, KVM_GET_DEBUGREGS, get_debugregs_out));
}

static long set_xsave(void)
{
	static uint8_t bytes[11008];

	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	put_counted(bytes + XSAVE_XMM, 0x81000001, 64);
	put_u64(bytes + XSAVE_XSTATE_BV, XFEATURE_MASK_SSE);
	return result_of(ioctl(vcpu0, KVM_SET_XSAVE, bytes));
}

static long set_fpu(void)
{
	static uint8_t bytes[416];

	put_u32(bytes + 0x80, 0x37f);
	return result_of(ioctl(vcpu0, KVM_SET_FPU, bytes));
}

static long set_cpuid(void)
{
	static uint8_t bytes[128];

	memcpy(bytes, (const uint8_t[]){
		0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0xf8, 0x06, 0x08, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x14, 0x40, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00,
	0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x01, 0x00, 0x08, 0x00, 0x00, 0x00,
	}, 48);
	put_u32(bytes + 0x38, 0xd);
	put_u32(bytes + 0x3c, 0x2e7);
	put_u32(bytes + 0x40, 0x2b00);
	put_u32(bytes + 0x44, 0x2b00);
	put_u32(bytes + 0x50, 0x80000001ULL);
	memcpy(bytes + 0x5c, (const uint8_t[]){
		0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x20, 0x00, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x80,
	0x2e, 0x30, 0x00, 0x00,
	}, 20);
	return result_of(ioctl(vcpu0, KVM_SET_CPUID, bytes));
}

static long set_fpu_2(void)
{
	static uint8_t bytes[416];

	memcpy(bytes, (const uint8_t[]){
		0xa6, 0xf5, 0xb2, 0x7d, 0x98, 0x71, 0x99, 0x4a, 0xfb, 0xc6, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xe2, 0x57, 0x3a, 0x19, 0x01, 0x6f, 0x27, 0x1b, 0xf6, 0x50, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x2b, 0xf9, 0x88, 0x55, 0x62, 0xb0, 0xea, 0xcb, 0x2f, 0x58, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xb2, 0x62, 0x5e, 0xb8, 0xb4, 0xbd, 0x09, 0x3e, 0xfc, 0x83, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x09, 0x69, 0xc5, 0x00, 0xee, 0xe3, 0x77, 0x9c, 0x88, 0xd3, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0xaf, 0x3f, 0x59, 0xdb, 0xf4, 0x9b, 0xc9, 0x81, 0x45, 0xe2, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x2c, 0xaa, 0xe4, 0x88, 0x3d, 0x5d, 0xbc, 0x30, 0xa7, 0x21, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x31, 0x45, 0x5b, 0x63, 0x6b, 0x7b, 0x33, 0x93, 0x86, 0x4e, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	0x7f, 0x02, 0x00, 0x00, 0xfd, 0xee, 0x00, 0x00,
	}, 136);
	memcpy(bytes + 0x98, (const uint8_t[]){
		0x00, 0xf4, 0x87, 0xc8, 0x26, 0x8d, 0x05, 0x92, 0xa4, 0x99, 0x02, 0x1d, 0xff, 0xe2, 0x6d, 0xd2,
	0x8e, 0x5f, 0x4a, 0xd9, 0xd4, 0xf9, 0x3e, 0xdb, 0x88, 0xf8, 0x2a, 0x4d, 0xc0, 0xfa, 0xfb, 0xc9,
	0x61, 0xd6, 0xf7, 0xab, 0xf6, 0x72, 0x51, 0x98, 0x4b, 0x19, 0xe5, 0x61, 0xfc, 0xc4, 0x2d, 0x71,
	0x35, 0x3b, 0xb9, 0x24, 0x00, 0xad, 0x8c, 0x0d, 0x4d, 0x6c, 0xb3, 0xa0, 0x1c, 0x49, 0x95, 0x90,
	0xf7, 0x09, 0xe0, 0x3d, 0x99, 0xfc, 0xc3, 0xd6, 0x21, 0x5e, 0x4b, 0xfc, 0x32, 0x59, 0x69, 0xc0,
	0x62, 0xd9, 0x0c, 0x98, 0xd3, 0xe7, 0xf2, 0x56, 0x56, 0x9b, 0x45, 0x84, 0xf6, 0x23, 0xc0, 0x63,
	0xeb, 0xd8, 0x37, 0xdb, 0xd5, 0xb5, 0xf4, 0xb3, 0x72, 0x80, 0x16, 0x26, 0x8d, 0x5b, 0xd7, 0x19,
	0xca, 0x6b, 0xb2, 0xfd, 0xce, 0x48, 0x33, 0xe7, 0x8a, 0x6e, 0xee, 0x08, 0x4f, 0x8c, 0xf0, 0x22,
	0x02, 0x30, 0x0c, 0x3b, 0x6a, 0xc5, 0x96, 0x95, 0x9e, 0x78, 0x6b, 0x86, 0x58, 0x3c, 0xea, 0x75,
	0x9b, 0xdb, 0x89, 0xf9, 0xb3, 0x7e, 0x71, 0x50, 0x00, 0x75, 0x3f, 0x86, 0xb8, 0x3d, 0x26, 0x19,
	0x34, 0xa3, 0x4a, 0xff, 0x37, 0xcf, 0x3e, 0x11, 0x6b, 0x86, 0x31, 0xdb, 0x35, 0x7f, 0x61, 0x05,
	0x6f, 0xd3, 0xb6, 0x2d, 0xb4, 0xe7, 0x0d, 0x15, 0x24, 0x63, 0x1a, 0x33, 0x77, 0xa0, 0xa8, 0x35,
	0xc8, 0x08, 0x1c, 0x0b, 0x69, 0x4d, 0x33, 0x5c, 0x9a, 0x7b, 0xf0, 0xf3, 0x04, 0xf1, 0x07, 0x23,
	0xe6, 0x71, 0xee, 0xf7, 0x46, 0x07, 0xc5, 0x1b, 0xa2, 0xda, 0x8d, 0x65, 0xa7, 0x3a, 0xb4, 0x5b,
	0x70, 0x0e, 0x30, 0x80, 0x10, 0x9f, 0x49, 0x9c, 0x10, 0x40, 0x29, 0x2c, 0x01, 0x62, 0x0c, 0x60,
	0x24, 0xfd, 0x62, 0xb6, 0x30, 0x21, 0xfa, 0x73, 0xb6, 0x2b, 0x20, 0xcc, 0xa9, 0x04, 0xb0, 0x75,
	0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee,
	}, 264);
	return result_of(ioctl(vcpu0, KVM_SET_FPU, bytes));
}

static long get_xsave(void)
{
	get_xsave_out = at_page_end(4097);
	memset(get_xsave_out, CANARY, 4097);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE, get_xsave_out));
}

static long get_xsave2(void)
{
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE2, NULL));
}

static long get_fpu(void)
{
	get_fpu_out = at_page_end(576);
	memset(get_fpu_out, CANARY, 576);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_out));
}

static long get_one_reg(void)
{
	memset(get_one_reg_out, CANARY, 24);
	memset(get_one_reg_out, 0, 16);
	put_u32(get_one_reg_out + 0, 0xda0);
	put_u32(get_one_reg_out + 4, 0x20300002);
	put_u64(get_one_reg_out + 8, (uintptr_t)(get_one_reg_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_out));
}

static long get_xcrs(void)
{
	memset(get_xcrs_out, CANARY, 392);
	return result_of(ioctl(vcpu0, KVM_GET_XCRS, get_xcrs_out));
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
 * Step 2: KVM_CREATE_IRQCHIP
 * Expected: 0.
 * KVM_CREATE_IRQCHIP gives later vCPUs a local APIC: arch/x86/kvm/x86.c: kvm_arch_vm_ioctl
 */
static void step_2(void)
{
	long ret;

	ret = create_irqchip();
	check("2 KVM_CREATE_IRQCHIP", ret, 0);
}

/*
 * Step 3: KVM_SET_USER_MEMORY_REGION
 * Expected: 0.
 * memory slots do not overlap, and a slot in use keeps its memory: virt/kvm/kvm_main.c: kvm_set_memory_region
 */
static void step_3(void)
{
	long ret;

	ret = map_memory();
	check("3 KVM_SET_USER_MEMORY_REGION", ret, 0);
}

/*
 * Step 4: KVM_CREATE_VCPU
 * Expected: a descriptor.
 * KVM_CREATE_VCPU freezes guest permission and makes a fpstate in its initial state: arch/x86/kernel/fpu/core.c:
 * fpu_alloc_guest_fpstate
 */
static void step_4(void)
{
	long ret;

	ret = create_vcpu();
	check_descriptor("4 KVM_CREATE_VCPU", ret);
}

/*
 * Step 5: KVM_GET_SUPPORTED_CPUID
 * Expected: 0.
 * supported CPUID follows guest permission in leaf 0xD, not in leaves 7, 0x1D and 0x1E: arch/x86/kvm/cpuid.c:
 * __do_cpuid_func.  Not judged where it depends on the features and MSRs that CPU and KVM have
 */
static void step_5(void)
{
	long ret;

	ret = get_supported_cpuid();
	if (check("5 KVM_GET_SUPPORTED_CPUID", ret, 0)) {
		expect_value("0xD.0:EDX:EAX", cpuid_xcr0(get_supported_cpuid_out), 0x2e7, 0);
		expect_value("0xD.0:ECX", cpuid_entry(get_supported_cpuid_out, 0xd, 0).ecx, 0xa88, 0);
	}
}

/*
 * Step 6: KVM_GET_MP_STATE
 * Expected: 0.
 * a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_6(void)
{
	long ret;

	ret = get_mp_state();
	if (check("6 KVM_GET_MP_STATE", ret, 0))
		expect_value("mp_state", u32_at(get_mp_state_out), 0, 0);
	if (ret >= 0)
		memcpy(kept_kvm_mp_state, get_mp_state_out, 4);
	else
		give_up("there is nothing to restore");
}

/*
 * Step 7: KVM_SET_MP_STATE(mp_state=0x1)
 * Expected: 0.
 * a SET ioctl accepts what the GET ioctl returned: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_7(void)
{
	long ret;

	ret = set_mp_state();
	check("7 KVM_SET_MP_STATE(mp_state=0x1)", ret, 0);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_vcpu_events();
	if (check("7.1 KVM_GET_VCPU_EVENTS", ret, 0)) {
		expect_value("exception_injected", u8_at(get_vcpu_events_out), 0, 0);
		expect_value("exception_nr", u8_at(get_vcpu_events_out + 1), 0, 0);
		expect_value("exception_has_error_code", u8_at(get_vcpu_events_out + 2), 0, 0);
		expect_value("exception_pending", u8_at(get_vcpu_events_out + 3), 0, 0);
		expect_value("exception_error_code", u32_at(get_vcpu_events_out + 4), 0, 0);
		expect_value("interrupt_injected", u8_at(get_vcpu_events_out + 8), 0, 0);
		expect_value("interrupt_nr", u8_at(get_vcpu_events_out + 9), 0, 0);
		expect_value("interrupt_soft", u8_at(get_vcpu_events_out + 10), 0, 0);
		expect_value("interrupt_shadow", u8_at(get_vcpu_events_out + 11), 0, 0);
		expect_value("nmi_injected", u8_at(get_vcpu_events_out + 12), 0, 0);
		expect_value("nmi_pending", u8_at(get_vcpu_events_out + 13), 0, 0);
		expect_value("nmi_masked", u8_at(get_vcpu_events_out + 14), 0, 0);
		expect_value("sipi_vector", u32_at(get_vcpu_events_out + 16), 0, 0);
		expect_value("flags", u32_at(get_vcpu_events_out + 20), 0xd, 0);
		expect_value("smi_smm", u8_at(get_vcpu_events_out + 24), 0, 0);
		expect_value("smi_pending", u8_at(get_vcpu_events_out + 25), 0, 0);
		expect_value("smi_smm_inside_nmi", u8_at(get_vcpu_events_out + 26), 0, 0);
		expect_value("smi_latched_init", u8_at(get_vcpu_events_out + 27), 0, 0);
		expect_value("triple_fault_pending", u8_at(get_vcpu_events_out + 28), 0, 0);
	}

	/*
	 * KVM_GET_MSRS returns how many entries it read: arch/x86/kvm/x86.c: __msr_io.  Not judged where it depends on
	 * UNSUPPORTED_MSRS_IGNORED, the features and MSRs that CPU and KVM have
	 */
	ret = get_msrs();
	show("7.2 KVM_GET_MSRS(U_CET)", ret);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_debugregs();
	if (check("7.3 KVM_GET_DEBUGREGS", ret, 0)) {
		expect_value("db0", u64_at(get_debugregs_out), 0, 0);
		expect_value("db1", u64_at(get_debugregs_out + 8), 0, 0);
		expect_value("db2", u64_at(get_debugregs_out + 16), 0, 0);
		expect_value("db3", u64_at(get_debugregs_out + 24), 0, 0);
		expect_value("dr6", u64_at(get_debugregs_out + 32), 0xffff0ff0ULL, 0);
		expect_value("dr7", u64_at(get_debugregs_out + 40), 0x400, 0);
		expect_value("flags", u64_at(get_debugregs_out + 48), 0, 0);
	}
}

/*
 * Step 8: KVM_SET_XSAVE XSTATE_BV=0x2 (SSE)
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_8(void)
{
	long ret;

	ret = set_xsave();
	check("8 KVM_SET_XSAVE XSTATE_BV=0x2 (SSE)", ret, 0);
}

/*
 * Step 9: KVM_SET_FPU init
 * Expected: 0.
 * KVM_SET_FPU sets what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
 */
static void step_9(void)
{
	long ret;

	ret = set_fpu();
	check("9 KVM_SET_FPU init", ret, 0);
}

/*
 * Step 10: KVM_SET_CPUID(no-shstk)
 * Expected: 0.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_10(void)
{
	long ret;

	ret = set_cpuid();
	check("10 KVM_SET_CPUID(no-shstk)", ret, 0);
}

/*
 * Step 11: KVM_SET_FPU garbage
 * Expected: 0.
 * KVM_SET_FPU sets what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
 */
static void step_11(void)
{
	long ret;

	ret = set_fpu_2();
	check("11 KVM_SET_FPU garbage", ret, 0);

	/* KVM_GET_XSAVE works until the image is larger than 4096 bytes: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_xsave();
	if (check("11.1 KVM_GET_XSAVE into 4097 bytes", ret, 0))
		expect_image(get_xsave_out, 4097, (const struct content *const[]){ &expected_11 }, 1);

	/*
	 * KVM_GET_XSAVE2 returns the guest's state in the standard format: arch/x86/kernel/fpu/xstate.c:
	 * __copy_xstate_to_uabi_buf
	 */
	ret = get_xsave2();
	check("11.2 KVM_GET_XSAVE2 into 0 bytes", ret, -EFAULT);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu();
	if (check("11.3 KVM_GET_FPU into 576 bytes", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_out + 128), 0x27f, 0);
		expect_bytes(get_fpu_out + 0, &expected_11_2);
	}

	/*
	 * KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg.
	 * Not judged where it depends on ONE_REG_MSRS
	 */
	ret = get_one_reg();
	show("11.4 KVM_GET_ONE_REG(0x2030000200000da0)", ret);

	/* KVM_GET_XCRS returns the last accepted XCR0: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xcrs */
	ret = get_xcrs();
	if (check("11.5 KVM_GET_XCRS", ret, 0))
		expect_value("XCR0", u64_at(get_xcrs_out + 16), XFEATURE_MASK_FP, 0);
}

int main(int argc, char **argv)
{
	go_on = argc > 1 && strcmp(argv[1], "--go-on") == 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	end_within(60, "ended early: did not end");
	need_kvm();
	need_guest_components(0x602e7);
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
	return verdict();
}
