// SPDX-License-Identifier: MIT
/*
 * fuzz.5.115
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
#include <asm/prctl.h>
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
#ifndef ARCH_GET_XCOMP_GUEST_PERM
#define ARCH_GET_XCOMP_GUEST_PERM 0x1024
#endif
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
#ifndef KVM_SET_SREGS2
#define KVM_SET_SREGS2 _IOW(KVMIO, 0xcd, struct kvm_sregs2)
#endif
/* Fills an output before the call, to show the bytes that the kernel did not write. */
#define CANARY 0xa5
/* The result of a call that was not made because it would kill the host.  No errno is that large. */
#define STOPPED (-4096L)
#define XSAVE_YMM 576 /* CPUID.(0xd, 2):EBX */
#define XSAVE_PKRU 2688 /* CPUID.(0xd, 9):EBX */

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
static int vcpu2 = -1;
static uint8_t kept_supported_cpuid[10248];
static uint8_t kept_sregs2[320];
static uint8_t kept_kvm_vcpu_events[64];
static uint8_t get_supported_cpuid_out[10248];
static uint8_t get_xsave2_out[11072];
static uint8_t get_msrs_out[24];
static uint8_t get_sregs2_out[320];
static uint8_t get_vcpu_events_out[64];
static uint8_t get_debugregs_out[128];
static uint8_t get_regs_out[144];
static uint8_t get_xcomp_guest_perm_out[8];
static uint8_t get_cpuid2_out[10248];
static uint8_t get_xsave_out[4160];
static uint8_t get_vcpu_events_2_out[64];
static uint8_t *get_fpu_out;
static uint8_t get_one_reg_vcpu2_out[24];
static uint8_t get_one_reg_out[24];

static void fill_expected_6(uint8_t *bytes)
{
	put_u16(bytes + XSAVE_FCW, 0x37f);
	put_u32(bytes + XSAVE_MXCSR, 0x1f80);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	put_u32(bytes + XSAVE_SOFTWARE, 0x602e7);
}

static const struct content expected_6 = { 4096, fill_expected_6, NULL, 0 };

static void fill_expected_16(uint8_t *bytes)
{
	put_u32(bytes + 0x80, 0x37f);
}

static const struct content expected_16 = { 416, fill_expected_16, NULL, 0 };

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

static long create_vcpu_vcpu2(void)
{
	long fd = result_of(ioctl(vm, KVM_CREATE_VCPU, 1UL));

	if (fd >= 0)
		vcpu2 = (int)fd;
	return fd;
}

static long get_xsave2(void)
{
	memset(get_xsave2_out, CANARY, 11072);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE2, get_xsave2_out));
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

static long set_fpu(void)
{
	uint8_t *bytes = at_page_end(416);

	memcpy(bytes, (const uint8_t[]){
		0xa6, 0xf5, 0xb2, 0x7d, 0x98, 0x71, 0x99, 0x4a, 0xfb, 0xc6, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xe2, 0x57, 0x3a, 0x19, 0x01, 0x6f, 0x27, 0x1b, 0xf6, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x2b, 0xf9, 0x88, 0x55, 0x62, 0xb0, 0xea, 0xcb, 0x2f, 0x58, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xb2, 0x62, 0x5e, 0xb8, 0xb4, 0xbd, 0x09, 0x3e, 0xfc, 0x83, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x09, 0x69, 0xc5, 0x00, 0xee, 0xe3, 0x77, 0x9c, 0x88, 0xd3, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xaf, 0x3f, 0x59, 0xdb, 0xf4, 0x9b, 0xc9, 0x81, 0x45, 0xe2, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x2c, 0xaa, 0xe4, 0x88, 0x3d, 0x5d, 0xbc, 0x30, 0xa7, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x31, 0x45, 0x5b, 0x63, 0x6b, 0x7b, 0x33, 0x93, 0x86, 0x4e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
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
	return result_of(ioctl(vcpu0, KVM_SET_FPU, bytes));
}

static long get_sregs2(void)
{
	memset(get_sregs2_out, CANARY, 320);
	return result_of(ioctl(vcpu0, KVM_GET_SREGS2, get_sregs2_out));
}

static long set_sregs2(void)
{
	static uint8_t bytes[320];

	memcpy(bytes, kept_sregs2, 320);
	put_u64(bytes + 248, 0x10);
	return result_of(ioctl(vcpu0, KVM_SET_SREGS2, bytes));
}

static long get_vcpu_events(void)
{
	memset(get_vcpu_events_out, CANARY, 64);
	return result_of(ioctl(vcpu0, KVM_GET_VCPU_EVENTS, get_vcpu_events_out));
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
	put_u64(bytes + XSAVE_XSTATE_BV, 0x207);
	put_counted(bytes + XSAVE_YMM, 0x82000001, 64);
	put_u32(bytes + XSAVE_PKRU, 0x55555540);
	return ioctl_asleep(vcpu0, KVM_SET_XSAVE, bytes, 11008);
}

static long set_vcpu_events(void)
{
	static uint8_t bytes[64];

	memcpy(bytes, kept_kvm_vcpu_events, 64);
	put_u32(bytes + 20, 0);
	memset(bytes + 28, 0, 1);
	memcpy(bytes + 28, (const uint8_t[]){ 0x20 }, 1);
	return result_of(ioctl(vcpu0, KVM_SET_VCPU_EVENTS, bytes));
}

static long get_debugregs(void)
{
	memset(get_debugregs_out, CANARY, 128);
	return result_of(ioctl(vcpu0, KVM_GET_DEBUGREGS, get_debugregs_out));
}

static long get_regs(void)
{
	memset(get_regs_out, CANARY, 144);
	return result_of(ioctl(vcpu0, KVM_GET_REGS, get_regs_out));
}

static long set_cpuid2_vcpu2(void)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[16];
	} argument = {
		.head = { .nent = 16 },
		.entries = {
			{ .function = 0x1, .index = 0, .eax = 0x806f8, .ecx = 0x14000020, .edx = 0x7000040 },
			{ .function = 0x7, .index = 0, .flags = 1, .ebx = 0x10020, .ecx = 0x8, .edx = 0x3400000 },
			{ .function = 0xd, .index = 0, .flags = 1, .eax = 0xfffbffff, .ebx = 0x2b00, .ecx = 0x2b00, .edx = 0xffffffff },
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

	return result_of(ioctl(vcpu2, KVM_SET_CPUID2, &argument));
}

static long set_xsave_2(void)
{
	static uint8_t bytes[11008];

	put_u32(bytes + XSAVE_MXCSR, 0x1fa0);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	return ioctl_asleep(vcpu0, KVM_SET_XSAVE, bytes, 11008);
}

static long get_xcomp_guest_perm(void)
{
	memset(get_xcomp_guest_perm_out, CANARY, 8);
	return result_of(syscall(SYS_arch_prctl, ARCH_GET_XCOMP_GUEST_PERM, get_xcomp_guest_perm_out));
}

static long set_sregs2_2(void)
{
	static uint8_t bytes[320];

	memcpy(bytes, kept_sregs2, 320);
	put_u64(bytes + 248, 0x800400);
	return result_of(ioctl(vcpu0, KVM_SET_SREGS2, bytes));
}

static long get_cpuid2(void)
{
	memset(get_cpuid2_out, 0, 10248);
	put_u32(get_cpuid2_out + 0, 0x3c8ea30f);
	return result_of(ioctl(vcpu0, KVM_GET_CPUID2, get_cpuid2_out));
}

static long get_xsave(void)
{
	memset(get_xsave_out, CANARY, 4160);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE, get_xsave_out));
}

static long get_vcpu_events_2(void)
{
	memset(get_vcpu_events_2_out, CANARY, 64);
	return result_of(ioctl(vcpu0, KVM_GET_VCPU_EVENTS, get_vcpu_events_2_out));
}

static long get_fpu(void)
{
	get_fpu_out = at_page_end(4097);
	memset(get_fpu_out, CANARY, 4097);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_out));
}

static long get_one_reg_vcpu2(void)
{
	memset(get_one_reg_vcpu2_out, CANARY, 24);
	memset(get_one_reg_vcpu2_out, 0, 16);
	put_u32(get_one_reg_vcpu2_out + 0, 0xda0);
	put_u32(get_one_reg_vcpu2_out + 4, 0x20300002);
	put_u64(get_one_reg_vcpu2_out + 8, (uintptr_t)(get_one_reg_vcpu2_out + 16));
	return result_of(ioctl(vcpu2, KVM_GET_ONE_REG, get_one_reg_vcpu2_out));
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
 * Step 6: KVM_CREATE_VCPU 0x1 of vm
 * Expected: a descriptor.
 * KVM_CREATE_VCPU freezes guest permission and makes a fpstate in its initial state: arch/x86/kernel/fpu/core.c:
 * fpu_alloc_guest_fpstate
 */
static void step_6(void)
{
	long ret;

	ret = create_vcpu_vcpu2();
	check_descriptor("6 KVM_CREATE_VCPU 0x1 of vm", ret);

	/*
	 * KVM_GET_XSAVE2 returns the guest's state in the standard format: arch/x86/kernel/fpu/xstate.c:
	 * __copy_xstate_to_uabi_buf
	 */
	ret = get_xsave2();
	if (check("6.1 KVM_GET_XSAVE2", ret, 0))
		expect_image(get_xsave2_out, 11072, (const struct content *const[]){ &expected_6 }, 1);

	/*
	 * KVM_GET_MSRS returns how many entries it read: arch/x86/kvm/x86.c: __msr_io.  Not judged where it depends on
	 * UNSUPPORTED_MSRS_IGNORED, the features and MSRs that CPU and KVM have
	 */
	ret = get_msrs();
	show("6.2 KVM_GET_MSRS(U_CET)", ret);
}

/*
 * Step 7: KVM_SET_FPU of 4095 bytes
 * Expected: 0.
 * KVM_SET_FPU sets what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
 */
static void step_7(void)
{
	long ret;

	ret = set_fpu();
	check("7 KVM_SET_FPU of 4095 bytes", ret, 0);
}

/*
 * Step 8: KVM_GET_SREGS2
 * Expected: 0.
 * KVM_GET_SREGS returns the last accepted control registers: arch/x86/kvm/x86.c: __get_sregs_common
 */
static void step_8(void)
{
	long ret;

	ret = get_sregs2();
	if (check("8 KVM_GET_SREGS2", ret, 0)) {
		expect_value("cs_base", u64_at(get_sregs2_out), 0xffff0000ULL, 0);
		expect_value("cs_selector", u16_at(get_sregs2_out + 12), 0xf000, 0);
		expect_value("cr2", u64_at(get_sregs2_out + 232), 0, 0);
		expect_value("cr3", u64_at(get_sregs2_out + 240), 0, 0);
		expect_value("cr0", u64_at(get_sregs2_out + 224), 0x60000010, 0);
		expect_value("cr4", u64_at(get_sregs2_out + 248), 0, 0);
		expect_value("efer", u64_at(get_sregs2_out + 264), 0, 0);
	}
	if (ret >= 0)
		memcpy(kept_sregs2, get_sregs2_out, 320);
	else
		give_up("there is nothing to restore");
}

/*
 * Step 9: KVM_SET_SREGS2 CR4=0x10
 * Expected: 0.
 * KVM_SET_SREGS writes every register; CR4 is within the features of KVM and the guest's CPUID:
 * arch/x86/kvm/x86.c: kvm_is_valid_sregs
 */
static void step_9(void)
{
	long ret;

	ret = set_sregs2();
	check("9 KVM_SET_SREGS2 CR4=0x10", ret, 0);
}

/*
 * Step 10: KVM_GET_VCPU_EVENTS
 * Expected: 0.
 * a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_10(void)
{
	long ret;

	ret = get_vcpu_events();
	if (check("10 KVM_GET_VCPU_EVENTS", ret, 0)) {
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
	if (ret >= 0)
		memcpy(kept_kvm_vcpu_events, get_vcpu_events_out, 64);
	else
		give_up("there is nothing to restore");
}

/*
 * Step 11: KVM_SET_XSAVE XSTATE_BV=0x207 (FP|SSE|YMM|PKRU), after a sleep
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_11(void)
{
	long ret;

	ret = set_xsave();
	check("11 KVM_SET_XSAVE XSTATE_BV=0x207 (FP|SSE|YMM|PKRU), after a sleep", ret, 0);
}

/*
 * Step 12: KVM_SET_VCPU_EVENTS(flags=0x0, triple_fault_pending=0x20)
 * Expected: differs between correct kernels.
 * a SET ioctl accepts what the GET ioctl returned: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_12(void)
{
	long ret;

	ret = set_vcpu_events();
	show("12 KVM_SET_VCPU_EVENTS(flags=0x0, triple_fault_pending=0x20)", ret);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_debugregs();
	show("12.1 KVM_GET_DEBUGREGS", ret);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_regs();
	if (check("12.2 KVM_GET_REGS", ret, 0)) {
		expect_value("rax", u64_at(get_regs_out), 0, 0);
		expect_value("rbx", u64_at(get_regs_out + 8), 0, 0);
		expect_value("rcx", u64_at(get_regs_out + 16), 0, 0);
		expect_value("rdx", u64_at(get_regs_out + 24), 0x600, 0);
		expect_value("rsi", u64_at(get_regs_out + 32), 0, 0);
		expect_value("rdi", u64_at(get_regs_out + 40), 0, 0);
		expect_value("rsp", u64_at(get_regs_out + 48), 0, 0);
		expect_value("rbp", u64_at(get_regs_out + 56), 0, 0);
		expect_value("r8", u64_at(get_regs_out + 64), 0, 0);
		expect_value("r9", u64_at(get_regs_out + 72), 0, 0);
		expect_value("r10", u64_at(get_regs_out + 80), 0, 0);
		expect_value("r11", u64_at(get_regs_out + 88), 0, 0);
		expect_value("r12", u64_at(get_regs_out + 96), 0, 0);
		expect_value("r13", u64_at(get_regs_out + 104), 0, 0);
		expect_value("r14", u64_at(get_regs_out + 112), 0, 0);
		expect_value("r15", u64_at(get_regs_out + 120), 0, 0);
		expect_value("rip", u64_at(get_regs_out + 128), 0xfff0, 0);
		expect_value("rflags", u64_at(get_regs_out + 136), 2, 0);
	}

	/* KVM_GET_SREGS returns the last accepted control registers: arch/x86/kvm/x86.c: __get_sregs_common */
	ret = get_sregs2();
	show("12.3 KVM_GET_SREGS2", ret);
	if (ret >= 0)
		memcpy(kept_sregs2, get_sregs2_out, 320);
}

/*
 * Step 13: KVM_SET_CPUID2(all-but-tile-data) on vcpu2
 * Expected: 0.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_13(void)
{
	long ret;

	ret = set_cpuid2_vcpu2();
	check("13 KVM_SET_CPUID2(all-but-tile-data) on vcpu2", ret, 0);
}

/*
 * Step 14: KVM_SET_XSAVE XSTATE_BV=0, after a sleep
 * Expected: 0.
 * KVM_SET_XSAVE checks the image before any change and drops components with XFD[i]=1: arch/x86/kernel/fpu/core.c:
 * fpu_copy_uabi_to_guest_fpstate
 */
static void step_14(void)
{
	long ret;

	ret = set_xsave_2();
	check("14 KVM_SET_XSAVE XSTATE_BV=0, after a sleep", ret, 0);
}

/*
 * Step 15: ARCH_GET_XCOMP_GUEST_PERM
 * Expected: 0.
 * ARCH_GET_XCOMP_GUEST_PERM returns permission without supervisor components and lock:
 * arch/x86/kernel/fpu/xstate.c: xstate_get_guest_group_perm
 */
static void step_15(void)
{
	long ret;

	ret = get_xcomp_guest_perm();
	if (check("15 ARCH_GET_XCOMP_GUEST_PERM", ret, 0))
		expect_value("XCOMP", u64_at(get_xcomp_guest_perm_out), 0x202e7, 0);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_debugregs();
	show("15.1 KVM_GET_DEBUGREGS", ret);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_vcpu_events();
	show("15.2 KVM_GET_VCPU_EVENTS", ret);
	if (ret >= 0)
		memcpy(kept_kvm_vcpu_events, get_vcpu_events_out, 64);
}

/*
 * Step 16: KVM_SET_SREGS2 CR4=0x800400
 * Expected: differs between correct kernels.
 * KVM_SET_SREGS writes every register; CR4 is within the features of KVM and the guest's CPUID:
 * arch/x86/kvm/x86.c: kvm_is_valid_sregs
 */
static void step_16(void)
{
	long ret;

	ret = set_sregs2_2();
	show("16 KVM_SET_SREGS2 CR4=0x800400", ret);

	/*
	 * KVM_GET_CPUID2 returns what was set, and what follows XCR0, XSS and CR4 is current: arch/x86/kvm/cpuid.c:
	 * kvm_update_cpuid_runtime
	 */
	ret = get_cpuid2();
	show("16.1 KVM_GET_CPUID2(nent=1015980815)", ret);

	/* KVM_GET_XSAVE works until the image is larger than 4096 bytes: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_xsave();
	if (check("16.2 KVM_GET_XSAVE", ret, 0))
		expect_image(get_xsave_out, 4160, (const struct content *const[]){ &expected_6 }, 1);

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_vcpu_events();
	show("16.3 KVM_GET_VCPU_EVENTS", ret);
	if (ret >= 0)
		memcpy(kept_kvm_vcpu_events, get_vcpu_events_out, 64);

	/* a GET ioctl returns the vCPU's state: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_vcpu_events_2();
	show("16.4 KVM_GET_VCPU_EVENTS of vcpu0", ret);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu();
	if (check("16.5 KVM_GET_FPU into 4097 bytes", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_out + 128), 0x37f, 0);
		expect_bytes(get_fpu_out + 0, &expected_16);
	}

	/*
	 * KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg.
	 * Not judged where it depends on ONE_REG_MSRS
	 */
	ret = get_one_reg_vcpu2();
	show("16.6 KVM_GET_ONE_REG(0x2030000200000da0)", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg();
	show("16.7 KVM_GET_ONE_REG(0x203000020000010a)", ret);
}

int main(int argc, char **argv)
{
	go_on = argc > 1 && strcmp(argv[1], "--go-on") == 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	end_within(60, "ended early: did not end");
	need_kvm();
	need_guest_components(0x602e7);
	need_component(2, XSAVE_YMM, 256);
	need_component(9, XSAVE_PKRU, 8);
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
	return verdict();
}
