// SPDX-License-Identifier: MIT
/*
 * fuzz.6.176
 *
 * Makes one sequence of KVM calls and checks the result of each.  The comment at each
 * step has the expected result, and its source in the documentation, the SDM or the
 * kernel.
 *
 * Build: cc -std=gnu11 -O2 -Wall -Wextra -Werror -static -pthread -o reproducer reproducer.c
 * Run:   ./reproducer
 * Exit:  0 not reproduced: the kernel behaves as expected
 *        1 reproduced: a result differs
 *        2 cannot run here: no /dev/kvm, no AMX, another CPU than it was written for,
 *          no 64-bit guest although it needs one, or not finished within 60 s
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
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XFEATURE_MASK_FP (1ULL << 0)
#define XFEATURE_MASK_SSE (1ULL << 1)
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
#ifndef KVM_GET_SREGS2
#define KVM_GET_SREGS2 _IOR(KVMIO, 0xcc, struct kvm_sregs2)
#endif
/* Fills an output before the call, to show the bytes that the kernel did not write. */
#define CANARY 0xa5
/* The result of a call that was not made because it would kill the host.  No errno is that large. */
#define STOPPED (-4096L)
#define XSAVE_YMM 576 /* CPUID.(0xd, 2):EBX */
#define XSAVE_OPMASK 1088 /* CPUID.(0xd, 5):EBX */
#define XSAVE_ZMM_HI256 1152 /* CPUID.(0xd, 6):EBX */
#define XSAVE_HI16_ZMM 1664 /* CPUID.(0xd, 7):EBX */
#define XSAVE_PKRU 2688 /* CPUID.(0xd, 9):EBX */
#define XSAVE_XTILE_CFG 2752 /* CPUID.(0xd, 17):EBX */
#define XSAVE_XTILE_DATA 2816 /* CPUID.(0xd, 18):EBX */

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

/* TILECFG: palette 1, eight tiles of 16 rows of 64 bytes (SDM vol.2 LDTILECFG). */
static void put_tile_configuration(uint8_t *place)
{
	place[0] = 1;
	for (int tile = 0; tile < 8; tile++) {
		put_u16(place + 16 + 2 * tile, 64);
		place[48 + tile] = 16;
	}
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

/* The memory is not freed, because a signal could use it. */
static long set_alt_stack(size_t size)
{
	stack_t stack = { .ss_size = size };

	stack.ss_sp = new_memory(size ? size : 1);
	return result_of(syscall(SYS_sigaltstack, &stack, NULL));
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

/* A missing page, which another thread supplies while the caller sleeps in the page fault. */
struct sleeping_page {
	int fd;      /* of userfaultfd(2) */
	int stop;    /* eventfd: the call has returned */
	int procfs;  /* /proc/PID/task/TID/syscall of the caller: "running" until it is switched out */
	struct uffdio_copy copy;
};

/* Linux prints "running" for a thread that has not been switched out: fs/proc/base.c: proc_pid_syscall. */
static void *supply_page(void *argument)
{
	struct sleeping_page *page = argument;
	struct pollfd ready[] = { { .fd = page->fd, .events = POLLIN }, { .fd = page->stop, .events = POLLIN } };
	char first = 'r';

	while (poll(ready, 2, -1) < 0)
		;
	if (!(ready[0].revents & POLLIN))
		return NULL;
	while (pread(page->procfs, &first, 1, 0) == 1 && first == 'r')
		sched_yield();
	while (ioctl(page->fd, UFFDIO_COPY, &page->copy) < 0 && errno == EAGAIN)
		page->copy.copy = 0;
	return NULL;
}

/* Creates pages that are missing until supply_page() copies the bytes there. */
static struct sleeping_page missing_page(const void *bytes, size_t size)
{
	size_t whole = (size + 4095) / 4096 * 4096;
	uint8_t *source = new_memory(whole), *missing = new_memory(whole);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct sleeping_page page = {
		.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK),
		.stop = eventfd(0, EFD_CLOEXEC),
		.copy = { .dst = (uintptr_t)missing, .src = (uintptr_t)source, .len = whole },
	};
	char name[64];

	snprintf(name, sizeof(name), "/proc/self/task/%ld/syscall", (long)syscall(SYS_gettid));
	page.procfs = open(name, O_RDONLY | O_CLOEXEC);
	if (page.fd < 0 || page.stop < 0 || page.procfs < 0)
		cannot_run("a missing page needs userfaultfd(2) and %s: %s", name, strerror(errno));
	memcpy(source, bytes, size);
	range.range.start = page.copy.dst;
	range.range.len = whole;
	if (ioctl(page.fd, UFFDIO_API, &api) < 0 || ioctl(page.fd, UFFDIO_REGISTER, &range) < 0)
		cannot_run("userfaultfd(2) for page faults of the kernel: %s", strerror(errno));
	return page;
}

/* Makes an ioctl whose argument is a missing page, so that the caller is switched out during the ioctl. */
static long ioctl_asleep(int fd, unsigned long request, const void *bytes, size_t size)
{
	struct sleeping_page page = missing_page(bytes, size);
	uint64_t over = 1;
	pthread_t supplier;
	long result;

	if (pthread_create(&supplier, NULL, supply_page, &page) != 0)
		cannot_run("cannot create the thread that supplies the page");
	result = result_of(ioctl(fd, request, page.copy.dst));
	if (write(page.stop, &over, sizeof(over)) != sizeof(over))
		cannot_run("eventfd: %s", strerror(errno));
	pthread_join(supplier, NULL);
	close(page.procfs);
	close(page.stop);
	close(page.fd);
	return result;
}

static int kvm = -1;
static int vm = -1;
static int vcpu0 = -1;
static uint8_t kept_sregs[312];
static uint8_t get_supported_cpuid_out[10248];
static uint8_t get_sregs_out[312];
static uint8_t get_sregs2_out[320];
static uint8_t *get_fpu_out;
static uint8_t get_xsave2_out[11072];
static uint8_t get_reg_list_out[2056];
static uint8_t get_one_reg_out[24];
static uint8_t *get_xsave_out;
static uint8_t get_fpu_2_out[416];
static uint8_t *get_fpu_3_out;
static uint8_t get_xcrs_out[392];
static uint8_t get_one_reg_2_out[24];
static uint8_t get_reg_list_2_out[5608];

static void fill_expected_6(uint8_t *bytes)
{
	memcpy(bytes, (const uint8_t[]){
		0x95, 0x70, 0x1c, 0xd9, 0xd1, 0xfe, 0x2a, 0x55, 0xb7, 0x1d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xf8, 0x52, 0x59, 0xf4, 0xf3, 0xaa, 0x9b, 0x54, 0xc4, 0x9b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x89, 0x9c, 0x2f, 0x85, 0xeb, 0x90, 0xc1, 0x63, 0x90, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x29, 0xc4, 0x5e, 0x6d, 0xe7, 0xb6, 0x58, 0x6a, 0x99, 0x8c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x1d, 0x9e, 0x02, 0x7c, 0xd1, 0xa0, 0xf0, 0x55, 0xa8, 0x4a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x17, 0x6b, 0xfa, 0x85, 0x9a, 0xa2, 0xdb, 0x3e, 0xe2, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xdc, 0x61, 0x93, 0x62, 0xdb, 0x95, 0x48, 0x5c, 0x39, 0xeb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0a, 0x70, 0x9c, 0xe4, 0x8a, 0x0d, 0x48, 0x29, 0x72, 0x93, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x7f, 0x02, 0x00, 0x00, 0xb9, 0x00, 0x00, 0x00,
	}, 136);
	memcpy(bytes + 0x98, (const uint8_t[]){
		0xe7, 0x50, 0xcd, 0xd0, 0x42, 0xc5, 0x5f, 0x23, 0xfb, 0x2f, 0xcd, 0x68, 0x5e, 0x76, 0x3c, 0x02,
	0x65, 0x3a, 0x1b, 0x7e, 0xd4, 0xa7, 0xfc, 0x4c, 0xd9, 0x9e, 0xc0, 0x01, 0xdf, 0x01, 0x9f, 0x47,
	0xcf, 0xf2, 0x63, 0x8d, 0x15, 0x8f, 0x57, 0x19, 0x31, 0xfc, 0xcf, 0xe5, 0x61, 0x43, 0x06, 0x05,
	0x82, 0x4a, 0xbd, 0x8d, 0x66, 0x17, 0x57, 0xe6, 0xb6, 0x03, 0x9a, 0xa0, 0x4f, 0xdd, 0x44, 0xc4,
	0x86, 0xbe, 0x68, 0xcb, 0xb1, 0xde, 0xcb, 0x29, 0x8c, 0x6a, 0xce, 0x83, 0x04, 0x90, 0x8b, 0xee,
	0x01, 0x12, 0x72, 0xa8, 0x15, 0xe6, 0x34, 0x69, 0x98, 0x0a, 0xfe, 0x3c, 0xa9, 0x40, 0xfe, 0xc7,
	0xec, 0x3d, 0xe8, 0xef, 0xb6, 0xc8, 0x7d, 0x0a, 0xfe, 0x2b, 0xda, 0xa7, 0x99, 0x3e, 0xb7, 0xe8,
	0xb4, 0x54, 0x87, 0x90, 0xa3, 0xf4, 0x82, 0xb7, 0x54, 0x66, 0xb0, 0xfb, 0x0e, 0x79, 0xfb, 0x4f,
	0x9d, 0x85, 0xa6, 0x78, 0x6a, 0xff, 0x82, 0x5b, 0xe3, 0x24, 0x56, 0xd6, 0x40, 0x9d, 0x06, 0x94,
	0x85, 0x76, 0x46, 0xc1, 0x76, 0x8a, 0xb6, 0x9b, 0x51, 0xc3, 0xb6, 0x99, 0xc3, 0xd4, 0xce, 0x66,
	0x86, 0x3a, 0xb2, 0x5e, 0x72, 0x46, 0xd2, 0x11, 0xe1, 0xd0, 0xa0, 0xc4, 0xb9, 0x03, 0xd3, 0x30,
	0x71, 0xfa, 0xe4, 0x04, 0x2a, 0x39, 0x74, 0x99, 0x5c, 0x15, 0x10, 0x4c, 0xd9, 0xbc, 0xad, 0x2d,
	0x3f, 0xf1, 0xad, 0x0c, 0x44, 0x88, 0xc2, 0x4e, 0x94, 0xb2, 0x9e, 0xb7, 0xeb, 0x68, 0xcb, 0x68,
	0x02, 0xf3, 0x7b, 0x31, 0x8d, 0xd4, 0x02, 0xf7, 0x94, 0x34, 0xf8, 0x2e, 0x8b, 0x8d, 0xbf, 0x77,
	0x88, 0xc1, 0x1f, 0x6f, 0xca, 0x19, 0xbe, 0x70, 0x86, 0x1c, 0x02, 0xed, 0x7e, 0x73, 0x8c, 0x8f,
	0x7b, 0x8b, 0x03, 0xb4, 0x79, 0x83, 0x7b, 0x7c, 0x51, 0x57, 0x1d, 0xe8, 0x27, 0x7a, 0x29, 0x1c,
	}, 256);
}

static const struct content expected_6 = { 416, fill_expected_6, NULL, 0 };

static void fill_expected_7(uint8_t *bytes)
{
	put_u16(bytes + XSAVE_FCW, 0x27f);
	put_u32(bytes + 2, 0xb90000);
	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	memcpy(bytes + XSAVE_ST, (const uint8_t[]){
		0x95, 0x70, 0x1c, 0xd9, 0xd1, 0xfe, 0x2a, 0x55, 0xb7, 0x1d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xf8, 0x52, 0x59, 0xf4, 0xf3, 0xaa, 0x9b, 0x54, 0xc4, 0x9b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x89, 0x9c, 0x2f, 0x85, 0xeb, 0x90, 0xc1, 0x63, 0x90, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x29, 0xc4, 0x5e, 0x6d, 0xe7, 0xb6, 0x58, 0x6a, 0x99, 0x8c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x1d, 0x9e, 0x02, 0x7c, 0xd1, 0xa0, 0xf0, 0x55, 0xa8, 0x4a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x17, 0x6b, 0xfa, 0x85, 0x9a, 0xa2, 0xdb, 0x3e, 0xe2, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xdc, 0x61, 0x93, 0x62, 0xdb, 0x95, 0x48, 0x5c, 0x39, 0xeb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0a, 0x70, 0x9c, 0xe4, 0x8a, 0x0d, 0x48, 0x29, 0x72, 0x93, 0x00, 0x00,
	}, 124);
	memcpy(bytes + XSAVE_XMM, (const uint8_t[]){
		0xe7, 0x50, 0xcd, 0xd0, 0x42, 0xc5, 0x5f, 0x23, 0xfb, 0x2f, 0xcd, 0x68, 0x5e, 0x76, 0x3c, 0x02,
	0x65, 0x3a, 0x1b, 0x7e, 0xd4, 0xa7, 0xfc, 0x4c, 0xd9, 0x9e, 0xc0, 0x01, 0xdf, 0x01, 0x9f, 0x47,
	0xcf, 0xf2, 0x63, 0x8d, 0x15, 0x8f, 0x57, 0x19, 0x31, 0xfc, 0xcf, 0xe5, 0x61, 0x43, 0x06, 0x05,
	0x82, 0x4a, 0xbd, 0x8d, 0x66, 0x17, 0x57, 0xe6, 0xb6, 0x03, 0x9a, 0xa0, 0x4f, 0xdd, 0x44, 0xc4,
	0x86, 0xbe, 0x68, 0xcb, 0xb1, 0xde, 0xcb, 0x29, 0x8c, 0x6a, 0xce, 0x83, 0x04, 0x90, 0x8b, 0xee,
	0x01, 0x12, 0x72, 0xa8, 0x15, 0xe6, 0x34, 0x69, 0x98, 0x0a, 0xfe, 0x3c, 0xa9, 0x40, 0xfe, 0xc7,
	0xec, 0x3d, 0xe8, 0xef, 0xb6, 0xc8, 0x7d, 0x0a, 0xfe, 0x2b, 0xda, 0xa7, 0x99, 0x3e, 0xb7, 0xe8,
	0xb4, 0x54, 0x87, 0x90, 0xa3, 0xf4, 0x82, 0xb7, 0x54, 0x66, 0xb0, 0xfb, 0x0e, 0x79, 0xfb, 0x4f,
	0x9d, 0x85, 0xa6, 0x78, 0x6a, 0xff, 0x82, 0x5b, 0xe3, 0x24, 0x56, 0xd6, 0x40, 0x9d, 0x06, 0x94,
	0x85, 0x76, 0x46, 0xc1, 0x76, 0x8a, 0xb6, 0x9b, 0x51, 0xc3, 0xb6, 0x99, 0xc3, 0xd4, 0xce, 0x66,
	0x86, 0x3a, 0xb2, 0x5e, 0x72, 0x46, 0xd2, 0x11, 0xe1, 0xd0, 0xa0, 0xc4, 0xb9, 0x03, 0xd3, 0x30,
	0x71, 0xfa, 0xe4, 0x04, 0x2a, 0x39, 0x74, 0x99, 0x5c, 0x15, 0x10, 0x4c, 0xd9, 0xbc, 0xad, 0x2d,
	0x3f, 0xf1, 0xad, 0x0c, 0x44, 0x88, 0xc2, 0x4e, 0x94, 0xb2, 0x9e, 0xb7, 0xeb, 0x68, 0xcb, 0x68,
	0x02, 0xf3, 0x7b, 0x31, 0x8d, 0xd4, 0x02, 0xf7, 0x94, 0x34, 0xf8, 0x2e, 0x8b, 0x8d, 0xbf, 0x77,
	0x88, 0xc1, 0x1f, 0x6f, 0xca, 0x19, 0xbe, 0x70, 0x86, 0x1c, 0x02, 0xed, 0x7e, 0x73, 0x8c, 0x8f,
	0x7b, 0x8b, 0x03, 0xb4, 0x79, 0x83, 0x7b, 0x7c, 0x51, 0x57, 0x1d, 0xe8, 0x27, 0x7a, 0x29, 0x1c,
	}, 256);
	put_u32(bytes + XSAVE_SOFTWARE, 0x602e7);
	put_u64(bytes + XSAVE_XSTATE_BV, XFEATURE_MASK_FP | XFEATURE_MASK_SSE);
}

static const struct content expected_7 = { 4096, fill_expected_7, NULL, 0 };

static void fill_expected_11(uint8_t *bytes)
{
	put_u16(bytes + XSAVE_FCW, 0x37f);
	put_u32(bytes + XSAVE_MXCSR, 0x1f80);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	put_u32(bytes + XSAVE_SOFTWARE, 0x602e7);
}

static const struct content expected_11 = { 4096, fill_expected_11, NULL, 0 };

static void fill_expected_11_2(uint8_t *bytes)
{
	put_u32(bytes + 0x80, 0x37f);
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

static long set_xsave(void)
{
	static uint8_t bytes[11008];

	put_u16(bytes + XSAVE_FCW, 0x27f);
	put_u32(bytes + 2, 0xb90000);
	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	memcpy(bytes + XSAVE_ST, (const uint8_t[]){
		0x95, 0x70, 0x1c, 0xd9, 0xd1, 0xfe, 0x2a, 0x55, 0xb7, 0x1d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xf8, 0x52, 0x59, 0xf4, 0xf3, 0xaa, 0x9b, 0x54, 0xc4, 0x9b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x89, 0x9c, 0x2f, 0x85, 0xeb, 0x90, 0xc1, 0x63, 0x90, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x29, 0xc4, 0x5e, 0x6d, 0xe7, 0xb6, 0x58, 0x6a, 0x99, 0x8c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x1d, 0x9e, 0x02, 0x7c, 0xd1, 0xa0, 0xf0, 0x55, 0xa8, 0x4a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x17, 0x6b, 0xfa, 0x85, 0x9a, 0xa2, 0xdb, 0x3e, 0xe2, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xdc, 0x61, 0x93, 0x62, 0xdb, 0x95, 0x48, 0x5c, 0x39, 0xeb, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0a, 0x70, 0x9c, 0xe4, 0x8a, 0x0d, 0x48, 0x29, 0x72, 0x93, 0x00, 0x00,
	}, 124);
	memcpy(bytes + XSAVE_XMM, (const uint8_t[]){
		0xe7, 0x50, 0xcd, 0xd0, 0x42, 0xc5, 0x5f, 0x23, 0xfb, 0x2f, 0xcd, 0x68, 0x5e, 0x76, 0x3c, 0x02,
	0x65, 0x3a, 0x1b, 0x7e, 0xd4, 0xa7, 0xfc, 0x4c, 0xd9, 0x9e, 0xc0, 0x01, 0xdf, 0x01, 0x9f, 0x47,
	0xcf, 0xf2, 0x63, 0x8d, 0x15, 0x8f, 0x57, 0x19, 0x31, 0xfc, 0xcf, 0xe5, 0x61, 0x43, 0x06, 0x05,
	0x82, 0x4a, 0xbd, 0x8d, 0x66, 0x17, 0x57, 0xe6, 0xb6, 0x03, 0x9a, 0xa0, 0x4f, 0xdd, 0x44, 0xc4,
	0x86, 0xbe, 0x68, 0xcb, 0xb1, 0xde, 0xcb, 0x29, 0x8c, 0x6a, 0xce, 0x83, 0x04, 0x90, 0x8b, 0xee,
	0x01, 0x12, 0x72, 0xa8, 0x15, 0xe6, 0x34, 0x69, 0x98, 0x0a, 0xfe, 0x3c, 0xa9, 0x40, 0xfe, 0xc7,
	0xec, 0x3d, 0xe8, 0xef, 0xb6, 0xc8, 0x7d, 0x0a, 0xfe, 0x2b, 0xda, 0xa7, 0x99, 0x3e, 0xb7, 0xe8,
	0xb4, 0x54, 0x87, 0x90, 0xa3, 0xf4, 0x82, 0xb7, 0x54, 0x66, 0xb0, 0xfb, 0x0e, 0x79, 0xfb, 0x4f,
	0x9d, 0x85, 0xa6, 0x78, 0x6a, 0xff, 0x82, 0x5b, 0xe3, 0x24, 0x56, 0xd6, 0x40, 0x9d, 0x06, 0x94,
	0x85, 0x76, 0x46, 0xc1, 0x76, 0x8a, 0xb6, 0x9b, 0x51, 0xc3, 0xb6, 0x99, 0xc3, 0xd4, 0xce, 0x66,
	0x86, 0x3a, 0xb2, 0x5e, 0x72, 0x46, 0xd2, 0x11, 0xe1, 0xd0, 0xa0, 0xc4, 0xb9, 0x03, 0xd3, 0x30,
	0x71, 0xfa, 0xe4, 0x04, 0x2a, 0x39, 0x74, 0x99, 0x5c, 0x15, 0x10, 0x4c, 0xd9, 0xbc, 0xad, 0x2d,
	0x3f, 0xf1, 0xad, 0x0c, 0x44, 0x88, 0xc2, 0x4e, 0x94, 0xb2, 0x9e, 0xb7, 0xeb, 0x68, 0xcb, 0x68,
	0x02, 0xf3, 0x7b, 0x31, 0x8d, 0xd4, 0x02, 0xf7, 0x94, 0x34, 0xf8, 0x2e, 0x8b, 0x8d, 0xbf, 0x77,
	0x88, 0xc1, 0x1f, 0x6f, 0xca, 0x19, 0xbe, 0x70, 0x86, 0x1c, 0x02, 0xed, 0x7e, 0x73, 0x8c, 0x8f,
	0x7b, 0x8b, 0x03, 0xb4, 0x79, 0x83, 0x7b, 0x7c, 0x51, 0x57, 0x1d, 0xe8, 0x27, 0x7a, 0x29, 0x1c,
	}, 256);
	put_u64(bytes + XSAVE_XSTATE_BV, XFEATURE_MASK_FP | XFEATURE_MASK_SSE);
	return result_of(ioctl(vcpu0, KVM_SET_XSAVE, bytes));
}

static long get_sregs(void)
{
	memset(get_sregs_out, CANARY, 312);
	return result_of(ioctl(vcpu0, KVM_GET_SREGS, get_sregs_out));
}

static long get_sregs2(void)
{
	memset(get_sregs2_out, CANARY, 320);
	return result_of(ioctl(vcpu0, KVM_GET_SREGS2, get_sregs2_out));
}

static long get_fpu(void)
{
	get_fpu_out = at_page_end(576);
	memset(get_fpu_out, CANARY, 576);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_out));
}

static long set_xsave_2(void)
{
	static uint8_t bytes[11008];

	put_u16(bytes + XSAVE_FCW, 0x27f);
	put_u32(bytes + 2, 0xff0000);
	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	put_st_registers(bytes);
	put_counted(bytes + XSAVE_XMM, 0x81000001, 64);
	put_u64(bytes + XSAVE_XSTATE_BV, 0x400000000000000ULL);
	put_counted(bytes + XSAVE_YMM, 0x82000001, 64);
	put_counted(bytes + XSAVE_OPMASK, 0x85000001, 16);
	put_counted(bytes + XSAVE_ZMM_HI256, 0x86000001, 128);
	put_counted(bytes + XSAVE_HI16_ZMM, 0x87000001, 256);
	put_u32(bytes + XSAVE_PKRU, 0x55555540);
	put_tile_configuration(bytes + XSAVE_XTILE_CFG);
	put_counted(bytes + XSAVE_XTILE_DATA, 0x92000001, 2048);
	return result_of(ioctl(vcpu0, KVM_SET_XSAVE, bytes));
}

static long get_xsave2(void)
{
	memset(get_xsave2_out, CANARY, 11072);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE2, get_xsave2_out));
}

static long set_fpu(void)
{
	static uint8_t bytes[416];

	memcpy(bytes, (const uint8_t[]){
		0x09, 0xf5, 0x7c, 0x71, 0xf0, 0x2a, 0xc9, 0x72, 0x6b, 0x5b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x4d, 0x95, 0xae, 0x43, 0x7e, 0x21, 0xba, 0x90, 0xcd, 0xd2, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x03, 0x18, 0x00, 0x3c, 0xa7, 0xbe, 0xff, 0xf3, 0xcb, 0x53, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x16, 0x7e, 0x2d, 0x9e, 0x13, 0x1b, 0x65, 0xa6, 0x5a, 0x98, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x0f, 0x1d, 0x04, 0x70, 0x2c, 0xe0, 0xbf, 0xa6, 0x69, 0xfa, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x74, 0x6e, 0xb7, 0xbb, 0x45, 0xe9, 0xfa, 0x71, 0xcc, 0xb5, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x8b, 0x23, 0x65, 0x46, 0x7f, 0x2e, 0x0b, 0x22, 0x85, 0x18, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x3c, 0x01, 0xc0, 0xb0, 0xa4, 0xd6, 0x61, 0xfe, 0x27, 0x65, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x7f, 0x02, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x00,
	}, 136);
	memcpy(bytes + 0x98, (const uint8_t[]){
		0x1b, 0x26, 0x8d, 0x8a, 0x39, 0x81, 0xfb, 0xde, 0x1d, 0xab, 0x5e, 0x00, 0xda, 0x36, 0xe6, 0x74,
	0xf1, 0xe2, 0xcd, 0x9e, 0xcf, 0x5b, 0x3a, 0xaf, 0xa6, 0x1a, 0x8f, 0x6e, 0x06, 0xd3, 0x79, 0x85,
	0x91, 0x1a, 0x45, 0x18, 0x7c, 0xbe, 0x4d, 0xf8, 0x12, 0x09, 0x87, 0xf8, 0xd0, 0x58, 0x62, 0xdc,
	0x05, 0x63, 0x90, 0x62, 0x07, 0x3b, 0x57, 0xe9, 0xc7, 0x97, 0x7c, 0x81, 0x4f, 0xf3, 0xf7, 0x6f,
	0x01, 0x6a, 0x6c, 0x95, 0xf4, 0xc6, 0xe1, 0xf1, 0x10, 0x05, 0xb5, 0x4a, 0xbd, 0xbc, 0x77, 0x1b,
	0x1f, 0x4b, 0x05, 0xe4, 0xa0, 0x38, 0x83, 0x08, 0xe3, 0xb4, 0x22, 0x88, 0xf7, 0xf2, 0x36, 0x51,
	0x4a, 0x78, 0xc6, 0x5b, 0x3c, 0xf7, 0x6b, 0x75, 0x13, 0x34, 0x7f, 0x91, 0xc5, 0xbd, 0x4d, 0xe3,
	0xcb, 0x13, 0x20, 0x9f, 0xb1, 0x29, 0xac, 0xe7, 0x54, 0xfb, 0xa1, 0x6d, 0x24, 0x51, 0x9e, 0xcb,
	0x4e, 0x25, 0x9e, 0x90, 0x66, 0xa9, 0x53, 0x97, 0xaf, 0x09, 0x41, 0xca, 0x7d, 0xd8, 0x7d, 0x06,
	0x1f, 0x95, 0x44, 0x7e, 0x38, 0xfa, 0xb3, 0x4a, 0xb0, 0x2d, 0xb0, 0x54, 0xb5, 0x28, 0xeb, 0x1e,
	0x1f, 0x5b, 0xc0, 0x18, 0x30, 0xb4, 0x16, 0xec, 0x73, 0x0e, 0x06, 0x71, 0x9c, 0xd1, 0xf5, 0xa1,
	0xf0, 0xbd, 0x9a, 0x52, 0xe1, 0x2b, 0x43, 0x43, 0x04, 0x71, 0x1b, 0x40, 0x2b, 0xdf, 0x7f, 0xf4,
	0x54, 0x27, 0x2c, 0x5e, 0x8d, 0xa9, 0xa7, 0x4a, 0xcf, 0xbe, 0x79, 0x81, 0x75, 0x26, 0x97, 0x1f,
	0x5d, 0x96, 0x55, 0xad, 0xe4, 0x97, 0xb9, 0x6c, 0x79, 0x47, 0xc0, 0x71, 0x5a, 0x7f, 0xf5, 0xdb,
	0x9b, 0xe3, 0x09, 0x3b, 0x1f, 0xea, 0xce, 0x8a, 0xbc, 0xcf, 0x8d, 0x33, 0xac, 0x47, 0x2e, 0x17,
	0xc5, 0xa6, 0x43, 0x3b, 0x33, 0x96, 0x89, 0x4e, 0xed, 0x64, 0x4b, 0x67, 0x10, 0x2e, 0x7b, 0x4c,
	}, 256);
	return result_of(ioctl(vcpu0, KVM_SET_FPU, bytes));
}

static long get_reg_list(void)
{
	memset(get_reg_list_out, CANARY, 2056);
	memset(get_reg_list_out, 0, 8);
	put_u32(get_reg_list_out + 0, 0x100);
	return result_of(ioctl(vcpu0, KVM_GET_REG_LIST, get_reg_list_out));
}

static long get_one_reg(void)
{
	memset(get_one_reg_out, CANARY, 24);
	memset(get_one_reg_out, 0, 16);
	put_u32(get_one_reg_out + 0, 0xc0000082ULL);
	put_u32(get_one_reg_out + 4, 0x20300002);
	put_u64(get_one_reg_out + 8, (uintptr_t)(get_one_reg_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_out));
}

static long set_sregs(void)
{
	static uint8_t bytes[312];

	memcpy(bytes, kept_sregs, 312);
	put_u64(bytes + 248, 0x40000);
	memset(bytes + 63, 0, 1);
	memcpy(bytes + 63, (const uint8_t[]){ 0x6e }, 1);
	return result_of(ioctl(vcpu0, KVM_SET_SREGS, bytes));
}

static long alt_stack_of_20317(void)
{
	return set_alt_stack(20317);
}

static long set_xsave_3(void)
{
	static uint8_t bytes[11008];

	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	return ioctl_asleep(vcpu0, KVM_SET_XSAVE, bytes, 11008);
}

static long get_xsave(void)
{
	get_xsave_out = at_page_end(24940);
	memset(get_xsave_out, CANARY, 24940);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE, get_xsave_out));
}

static long get_fpu_2(void)
{
	memset(get_fpu_2_out, CANARY, 416);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_2_out));
}

static long get_fpu_3(void)
{
	get_fpu_3_out = at_page_end(832);
	memset(get_fpu_3_out, CANARY, 832);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_3_out));
}

static long get_xcrs(void)
{
	memset(get_xcrs_out, CANARY, 392);
	return result_of(ioctl(vcpu0, KVM_GET_XCRS, get_xcrs_out));
}

static long get_one_reg_2(void)
{
	memset(get_one_reg_2_out, CANARY, 24);
	memset(get_one_reg_2_out, 0, 16);
	put_u32(get_one_reg_2_out + 0, 0x4b564d07);
	put_u32(get_one_reg_2_out + 4, 0x20300002);
	put_u64(get_one_reg_2_out + 8, (uintptr_t)(get_one_reg_2_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_2_out));
}

static long get_reg_list_2(void)
{
	memset(get_reg_list_2_out, CANARY, 5608);
	memset(get_reg_list_2_out, 0, 8);
	put_u32(get_reg_list_2_out + 0, 0x2bc);
	return result_of(ioctl(vcpu0, KVM_GET_REG_LIST, get_reg_list_2_out));
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
 * Step 6: KVM_SET_XSAVE XSTATE_BV=0x3 (FP|SSE), random 0x1000
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_6(void)
{
	long ret;

	ret = set_xsave();
	check("6 KVM_SET_XSAVE XSTATE_BV=0x3 (FP|SSE), random 0x1000", ret, 0);

	/* KVM_GET_SREGS returns the last accepted control registers: arch/x86/kvm/x86.c: __get_sregs_common */
	ret = get_sregs();
	if (check("6.1 KVM_GET_SREGS", ret, 0)) {
		expect_value("cs_base", u64_at(get_sregs_out), 0xffff0000ULL, 0);
		expect_value("cs_selector", u16_at(get_sregs_out + 12), 0xf000, 0);
		expect_value("cr2", u64_at(get_sregs_out + 232), 0, 0);
		expect_value("cr3", u64_at(get_sregs_out + 240), 0, 0);
		expect_value("cr0", u64_at(get_sregs_out + 224), 0x60000010, 0);
		expect_value("cr4", u64_at(get_sregs_out + 248), 0, 0);
		expect_value("efer", u64_at(get_sregs_out + 264), 0, 0);
	}
	if (ret >= 0)
		memcpy(kept_sregs, get_sregs_out, 312);
	else
		give_up("there is nothing to restore");

	/* KVM_GET_SREGS returns the last accepted control registers: arch/x86/kvm/x86.c: __get_sregs_common */
	ret = get_sregs2();
	if (check("6.2 KVM_GET_SREGS2", ret, 0)) {
		expect_value("cs_base", u64_at(get_sregs2_out), 0xffff0000ULL, 0);
		expect_value("cs_selector", u16_at(get_sregs2_out + 12), 0xf000, 0);
		expect_value("cr2", u64_at(get_sregs2_out + 232), 0, 0);
		expect_value("cr3", u64_at(get_sregs2_out + 240), 0, 0);
		expect_value("cr0", u64_at(get_sregs2_out + 224), 0x60000010, 0);
		expect_value("cr4", u64_at(get_sregs2_out + 248), 0, 0);
		expect_value("efer", u64_at(get_sregs2_out + 264), 0, 0);
	}

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu();
	if (check("6.3 KVM_GET_FPU into 576 bytes", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_out + 128), 0x27f, 0);
		expect_bytes(get_fpu_out + 0, &expected_6);
	}
}

/*
 * Step 7: KVM_SET_XSAVE XSTATE_BV=0x400000000000000 (58), absent 0x800
 * Expected: -EINVAL (22).
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_7(void)
{
	long ret;

	ret = set_xsave_2();
	check("7 KVM_SET_XSAVE XSTATE_BV=0x400000000000000 (58), absent 0x800", ret, -EINVAL);

	/*
	 * KVM_GET_XSAVE2 returns the guest's state in the standard format: arch/x86/kernel/fpu/xstate.c:
	 * __copy_xstate_to_uabi_buf
	 */
	ret = get_xsave2();
	if (check("7.1 KVM_GET_XSAVE2", ret, 0))
		expect_image(get_xsave2_out, 11072, (const struct content *const[]){ &expected_7 }, 1);
}

/*
 * Step 8: KVM_SET_FPU second
 * Expected: 0.
 * KVM_SET_FPU sets what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
 */
static void step_8(void)
{
	long ret;

	ret = set_fpu();
	check("8 KVM_SET_FPU second", ret, 0);

	/*
	 * KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list.  Not judged where it
	 * depends on ONE_REG_MSRS
	 */
	ret = get_reg_list();
	show("8.1 KVM_GET_REG_LIST", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg();
	show("8.2 KVM_GET_ONE_REG(0x20300002c0000082)", ret);
}

/*
 * Step 9: KVM_SET_SREGS CR4=0x40000, ES_PRESENT=0x6e
 * Expected: differs between correct kernels.
 * KVM_SET_SREGS writes every register; CR4 is within the features of KVM and the guest's CPUID:
 * arch/x86/kvm/x86.c: kvm_is_valid_sregs.  Not judged where it depends on CR4_NEEDS_CPUID
 */
static void step_9(void)
{
	long ret;

	ret = set_sregs();
	show("9 KVM_SET_SREGS CR4=0x40000, ES_PRESENT=0x6e", ret);
}

/*
 * Step 10: sigaltstack(2) of 20317 bytes
 * Expected: 0.
 * an alternate signal stack holds the frame of what is permitted: arch/x86/kernel/signal.c: sigaltstack_size_valid
 */
static void step_10(void)
{
	long ret;

	ret = alt_stack_of_20317();
	check("10 sigaltstack(2) of 20317 bytes", ret, 0);
}

/*
 * Step 11: KVM_SET_XSAVE XSTATE_BV=0, after a sleep
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_11(void)
{
	long ret;

	ret = set_xsave_3();
	check("11 KVM_SET_XSAVE XSTATE_BV=0, after a sleep", ret, 0);

	/* KVM_GET_XSAVE works until the image is larger than 4096 bytes: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_xsave();
	if (check("11.1 KVM_GET_XSAVE into 24940 bytes", ret, 0))
		expect_image(get_xsave_out, 24940, (const struct content *const[]){ &expected_11 }, 1);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu_2();
	if (check("11.2 KVM_GET_FPU", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_2_out + 128), 0x37f, 0);
		expect_bytes(get_fpu_2_out + 0, &expected_11_2);
	}

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu_3();
	if (check("11.3 KVM_GET_FPU into 832 bytes", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_3_out + 128), 0x37f, 0);
		expect_bytes(get_fpu_3_out + 0, &expected_11_2);
	}

	/*
	 * KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list.  Not judged where it
	 * depends on ONE_REG_MSRS
	 */
	ret = get_reg_list();
	show("11.4 KVM_GET_REG_LIST", ret);

	/* KVM_GET_XCRS returns the last accepted XCR0: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xcrs */
	ret = get_xcrs();
	if (check("11.5 KVM_GET_XCRS", ret, 0))
		expect_value("XCR0", u64_at(get_xcrs_out + 16), XFEATURE_MASK_FP, 0);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu_2();
	if (check("11.6 KVM_GET_FPU", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_2_out + 128), 0x37f, 0);
		expect_bytes(get_fpu_2_out + 0, &expected_11_2);
	}

	/*
	 * KVM_GET_XSAVE2 returns the guest's state in the standard format: arch/x86/kernel/fpu/xstate.c:
	 * __copy_xstate_to_uabi_buf
	 */
	ret = get_xsave2();
	if (check("11.7 KVM_GET_XSAVE2", ret, 0))
		expect_image(get_xsave2_out, 11072, (const struct content *const[]){ &expected_11 }, 1);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu_2();
	if (check("11.8 KVM_GET_FPU", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_2_out + 128), 0x37f, 0);
		expect_bytes(get_fpu_2_out + 0, &expected_11_2);
	}

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg_2();
	show("11.9 KVM_GET_ONE_REG(0x203000024b564d07)", ret);

	/*
	 * KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list.  Not judged where it
	 * depends on ONE_REG_MSRS
	 */
	ret = get_reg_list_2();
	show("11.10 KVM_GET_REG_LIST", ret);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	end_within(60, "ended early: did not end");
	need_kvm();
	need_guest_components(0x602e7);
	need_component(2, XSAVE_YMM, 256);
	need_component(5, XSAVE_OPMASK, 64);
	need_component(6, XSAVE_ZMM_HI256, 512);
	need_component(7, XSAVE_HI16_ZMM, 1024);
	need_component(9, XSAVE_PKRU, 8);
	need_component(17, XSAVE_XTILE_CFG, 64);
	need_component(18, XSAVE_XTILE_DATA, 8192);
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
