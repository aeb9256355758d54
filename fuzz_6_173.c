// SPDX-License-Identifier: MIT
/*
 * fuzz.6.173
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
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define XFEATURE_MASK_FP (1ULL << 0)
#define XFEATURE_MASK_SSE (1ULL << 1)
#define MSR_IA32_XFD 0x1c4
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

/* Memory that child processes write and this one reads; it has the same offsets in each. */
static uint8_t *shared;

static void map_shared(int fd, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd < 0 || memory == MAP_FAILED)
		cannot_run("no shared memory: %s", strerror(errno));
	shared = memory;
}

static int shared_fd(size_t size)
{
	int fd = (int)syscall(SYS_memfd_create, "shared", 0);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		cannot_run("no shared memory: %s", strerror(errno));
	return fd;
}

static long call_of_task(int call);

/* Answers until the other end is closed. */
static void serve(int requests, int answers)
{
	long answer;
	int call;

	while (read(requests, &call, sizeof(call)) == sizeof(call)) {
		answer = call_of_task(call);
		if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
			return;
	}
}

/* Another thread or process that makes calls for this one, one for each request through a pipe. */
struct task {
	int pid;
	int process;  /* pidfd, or -1 for a thread */
	int requests, answers;
};

/* Creates the pipes to and from a task; `ends` receives the task's ends. */
static void make_pipes(struct task *task, int ends[2])
{
	int requests[2], answers[2];

	if (pipe2(requests, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0)
		cannot_run("pipe2(2) for a task: %s", strerror(errno));
	*task = (struct task){ .process = -1, .requests = requests[1], .answers = answers[0] };
	ends[0] = requests[0];
	ends[1] = answers[1];
}

/* Stores the process that clone(2) or fork(2) returned; returns 0, or -errno. */
static long begin_process(struct task *task, int pid)
{
	if (pid < 0)
		return -errno;
	task->pid = pid;
	task->process = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

/* Makes a task end when the process that created it ends. */
static void end_with(int parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
}

static long spawn_fork(struct task *task)
{
	int ends[2], parent = getpid();
	pid_t pid;

	make_pipes(task, ends);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		end_with(parent);
		serve(ends[0], ends[1]);
		_exit(0);
	}
	return begin_process(task, pid);
}

static int kvm = -1;
static int vm = -1;
static int vcpu0 = -1;
static int vcpu2 = -1;
static struct kvm_run *vcpu0_run;
static struct task task_task1;
static struct task task_task0;
static size_t run_size;
#define kept_supported_cpuid (shared + 0)
#define kept_kvm_regs (shared + 10304)
#define get_supported_cpuid_out (shared + 10496)
#define get_mp_state_out (shared + 20800)
#define get_sregs2_out (shared + 20864)
#define get_one_reg_out (shared + 21184)
#define get_msrs_out (shared + 21248)
#define run_vcpu_out (shared + 21312)
#define get_xcrs_out (shared + 21376)
#define get_regs_out (shared + 21824)
#define get_reg_list_out (shared + 22016)
#define get_one_reg_2_out (shared + 23104)
#define get_fpu_out (shared + 23168)
static uint8_t *get_fpu_2_out;
#define get_vcpu_events_out (shared + 23616)
#define get_xsave_out (shared + 23680)

static void fill_expected_18(uint8_t *bytes)
{
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
}

static const struct content expected_18 = { 416, fill_expected_18, NULL, 0 };

static void fill_expected_18_2(uint8_t *bytes)
{
	put_u16(bytes + XSAVE_FCW, 0x27f);
	put_u32(bytes + 2, 0xfd0000);
	put_u32(bytes + XSAVE_MXCSR, 0x1f80);
	put_u32(bytes + XSAVE_MXCSR_MASK, 0xffff);
	memcpy(bytes + XSAVE_ST, (const uint8_t[]){
		0xa6, 0xf5, 0xb2, 0x7d, 0x98, 0x71, 0x99, 0x4a, 0xfb, 0xc6, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xe2, 0x57, 0x3a, 0x19, 0x01, 0x6f, 0x27, 0x1b, 0xf6, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x2b, 0xf9, 0x88, 0x55, 0x62, 0xb0, 0xea, 0xcb, 0x2f, 0x58, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xb2, 0x62, 0x5e, 0xb8, 0xb4, 0xbd, 0x09, 0x3e, 0xfc, 0x83, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x09, 0x69, 0xc5, 0x00, 0xee, 0xe3, 0x77, 0x9c, 0x88, 0xd3, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0xaf, 0x3f, 0x59, 0xdb, 0xf4, 0x9b, 0xc9, 0x81, 0x45, 0xe2, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x2c, 0xaa, 0xe4, 0x88, 0x3d, 0x5d, 0xbc, 0x30, 0xa7, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x31, 0x45, 0x5b, 0x63, 0x6b, 0x7b, 0x33, 0x93, 0x86, 0x4e, 0x00, 0x00,
	}, 124);
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

/* XINUSE of components in INIT state */
static const struct open_bits open_expected_18_2[] = {
	{ 512, 1, 0xe4 },
	{ 513, 1, 0x2 },
};

static const struct content expected_18_2 = { 4096, fill_expected_18_2, open_expected_18_2, 2 };

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

	if (fd >= 0) {
		vcpu0 = (int)fd;
		vcpu0_run = map_run_area(vcpu0, run_size);
	}
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

static long get_mp_state(void)
{
	memset(get_mp_state_out, CANARY, 4);
	return result_of(ioctl(vcpu0, KVM_GET_MP_STATE, get_mp_state_out));
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

static long set_cpuid2_2(void)
{
	static uint8_t bytes[8];

	return result_of(ioctl(vcpu0, KVM_SET_CPUID2, bytes));
}

static long create_vcpu_vcpu2(void)
{
	long fd = result_of(ioctl(vm, KVM_CREATE_VCPU, 0UL));

	if (fd >= 0)
		vcpu2 = (int)fd;
	return fd;
}

static long set_cpuid2_3(void)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[13];
	} argument = {
		.head = { .nent = 13 },
		.entries = {
			{ .function = 0x1, .index = 0, .eax = 0x806f8, .ecx = 0x14000020, .edx = 0x7000040 },
			{ .function = 0x7, .index = 0, .flags = 1, .ebx = 0x10020, .ecx = 0x8 },
			{ .function = 0xd, .index = 0, .flags = 1, .eax = 0x2e7, .ebx = 0x2b00, .ecx = 0x2b00 },
			{ .function = 0xd, .index = 1, .flags = 1, .eax = 0x1f, .ebx = 0x2a00 },
			{ .function = 0xd, .index = 2, .flags = 1, .eax = 0x100, .ebx = 0x240 },
			{ .function = 0xd, .index = 5, .flags = 1, .eax = 0x40, .ebx = 0x440 },
			{ .function = 0xd, .index = 6, .flags = 1, .eax = 0x200, .ebx = 0x480 },
			{ .function = 0xd, .index = 7, .flags = 1, .eax = 0x400, .ebx = 0x680 },
			{ .function = 0xd, .index = 9, .flags = 1, .eax = 0x8, .ebx = 0xa80 },
			{ .function = 0xd, .index = 17, .flags = 1, .eax = 0x40, .ebx = 0xac0, .ecx = 0x2 },
			{ .function = 0xd, .index = 18, .flags = 1, .eax = 0x2000, .ebx = 0xb00, .ecx = 0x6 },
			{ .function = 0x80000001, .index = 0, .ecx = 0x1, .edx = 0x20100000 },
			{ .function = 0x80000008, .index = 0, .eax = 0x302e },
		},
	};

	return result_of(ioctl(vcpu0, KVM_SET_CPUID2, &argument));
}

static long get_sregs2(void)
{
	memset(get_sregs2_out, CANARY, 320);
	return result_of(ioctl(vcpu0, KVM_GET_SREGS2, get_sregs2_out));
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

static long get_msrs(void)
{
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[1];
	} argument = {
		.head = { .nmsrs = 1 },
		.entries = {
			{ .index = 0x4b564d03, .data = 0 },
		},
	};

	memcpy(get_msrs_out, &argument, 24);
	return result_of(ioctl(vcpu0, KVM_GET_MSRS, get_msrs_out));
}

static long start_task1(void)
{
	return spawn_fork(&task_task1);
}

static long start_task0(void)
{
	return spawn_fork(&task_task0);
}

static long run_vcpu(void)
{
	if (!vcpu0_run)
		give_up("there is no vCPU to run");
	if (load_is_fatal(vcpu0))
		return STOPPED;
	vcpu0_run->immediate_exit = 0;
	return run_once(vcpu0, vcpu0_run, run_vcpu_out, 4);
}

static long get_xcrs(void)
{
	memset(get_xcrs_out, CANARY, 392);
	return result_of(ioctl(vcpu0, KVM_GET_XCRS, get_xcrs_out));
}

static long get_regs(void)
{
	memset(get_regs_out, CANARY, 144);
	return result_of(ioctl(vcpu0, KVM_GET_REGS, get_regs_out));
}

static long set_regs(void)
{
	static uint8_t bytes[144];

	memcpy(bytes, kept_kvm_regs, 144);
	put_u64(bytes + 8, 0x10000000000000ULL);
	put_u64(bytes + 128, 0xc4497124b3878515ULL);
	return result_of(ioctl(vcpu0, KVM_SET_REGS, bytes));
}

static long get_reg_list(void)
{
	memset(get_reg_list_out, CANARY, 1032);
	memset(get_reg_list_out, 0, 8);
	put_u32(get_reg_list_out + 0, 0x80);
	return result_of(ioctl(vcpu0, KVM_GET_REG_LIST, get_reg_list_out));
}

static long get_one_reg_2(void)
{
	memset(get_one_reg_2_out, CANARY, 24);
	memset(get_one_reg_2_out, 0, 16);
	put_u32(get_one_reg_2_out + 0, 0xce);
	put_u32(get_one_reg_2_out + 4, 0x20300002);
	put_u64(get_one_reg_2_out + 8, (uintptr_t)(get_one_reg_2_out + 16));
	return result_of(ioctl(vcpu0, KVM_GET_ONE_REG, get_one_reg_2_out));
}

static long set_regs_2(void)
{
	static uint8_t bytes[144];

	memcpy(bytes, kept_kvm_regs, 144);
	put_u64(bytes + 8, 0xfffffffffffffffeULL);
	put_u64(bytes + 64, 0x93110);
	return result_of(ioctl(vcpu0, KVM_SET_REGS, bytes));
}

static long get_fpu(void)
{
	memset(get_fpu_out, CANARY, 416);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_out));
}

static long get_fpu_2(void)
{
	get_fpu_2_out = at_page_end(4095);
	memset(get_fpu_2_out, CANARY, 4095);
	return result_of(ioctl(vcpu0, KVM_GET_FPU, get_fpu_2_out));
}

static long get_vcpu_events(void)
{
	memset(get_vcpu_events_out, CANARY, 64);
	return result_of(ioctl(vcpu0, KVM_GET_VCPU_EVENTS, get_vcpu_events_out));
}

static long get_xsave(void)
{
	memset(get_xsave_out, CANARY, 4160);
	return result_of(ioctl(vcpu0, KVM_GET_XSAVE, get_xsave_out));
}

static long call_of_task(int call)
{
	switch (call) {
	}
	return -ENOSYS;
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
}

/*
 * Step 7: KVM_SET_FPU of 512 bytes
 * Expected: 0.
 * KVM_SET_FPU sets what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_set_fpu
 */
static void step_7(void)
{
	long ret;

	ret = set_fpu();
	check("7 KVM_SET_FPU of 512 bytes", ret, 0);
}

/*
 * Step 8: KVM_SET_CPUID2(empty)
 * Expected: 0.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_8(void)
{
	long ret;

	ret = set_cpuid2_2();
	check("8 KVM_SET_CPUID2(empty)", ret, 0);
}

/*
 * Step 9: KVM_CREATE_VCPU
 * Expected: -EEXIST (17).
 * KVM_CREATE_VCPU with an id that is taken fails with EEXIST: virt/kvm/kvm_main.c: kvm_vm_ioctl_create_vcpu
 */
static void step_9(void)
{
	long ret;

	ret = create_vcpu_vcpu2();
	check("9 KVM_CREATE_VCPU", ret, -EEXIST);
}

/*
 * Step 10: KVM_SET_CPUID2(no-ibt)
 * Expected: 0.
 * KVM_SET_CPUID2 decides what the guest may have; XTILE_DATA needs permission once: arch/x86/kvm/cpuid.c:
 * kvm_set_cpuid
 */
static void step_10(void)
{
	long ret;

	ret = set_cpuid2_3();
	check("10 KVM_SET_CPUID2(no-ibt)", ret, 0);

	/* KVM_GET_SREGS returns the last accepted control registers: arch/x86/kvm/x86.c: __get_sregs_common */
	ret = get_sregs2();
	if (check("10.1 KVM_GET_SREGS2", ret, 0)) {
		expect_value("cs_base", u64_at(get_sregs2_out), 0xffff0000ULL, 0);
		expect_value("cs_selector", u16_at(get_sregs2_out + 12), 0xf000, 0);
		expect_value("cr2", u64_at(get_sregs2_out + 232), 0, 0);
		expect_value("cr3", u64_at(get_sregs2_out + 240), 0, 0);
		expect_value("cr0", u64_at(get_sregs2_out + 224), 0x60000010, 0);
		expect_value("cr4", u64_at(get_sregs2_out + 248), 0, 0);
		expect_value("efer", u64_at(get_sregs2_out + 264), 0, 0);
	}
}

/*
 * Step 11: KVM_GET_MP_STATE
 * Expected: 0.
 * a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_11(void)
{
	long ret;

	ret = get_mp_state();
	if (check("11 KVM_GET_MP_STATE", ret, 0))
		expect_value("mp_state", u32_at(get_mp_state_out), 0, 0);

	/*
	 * KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg.
	 * Not judged where it depends on ONE_REG_MSRS
	 */
	ret = get_one_reg();
	show("11.1 KVM_GET_ONE_REG(0x2030000200000da0)", ret);

	/* KVM_GET_MSRS returns how many entries it read: arch/x86/kvm/x86.c: __msr_io */
	ret = get_msrs();
	show("11.2 KVM_GET_MSRS(MSR 0x4b564d03)", ret);
}

/*
 * Step 12: clone(2) task1 (fork)
 * Expected: 0.
 * fork copies permission and its lock: arch/x86/kernel/fpu/core.c: fpu_inherit_perms
 */
static void step_12(void)
{
	long ret;

	ret = start_task1();
	check("12 clone(2) task1 (fork)", ret, 0);
}

/*
 * Step 13: clone(2) task0 (fork)
 * Expected: 0.
 * fork copies permission and its lock: arch/x86/kernel/fpu/core.c: fpu_inherit_perms
 */
static void step_13(void)
{
	long ret;

	ret = start_task0();
	check("13 clone(2) task0 (fork)", ret, 0);
}

/*
 * Step 14: KVM_RUN
 * Expected: 0.
 * KVM_RUN until HLT loads and saves the guest FPU: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run
 */
static void step_14(void)
{
	long ret;

	ret = run_vcpu();
	if (check("14 KVM_RUN", ret, 0))
		expect_value("exit_reason", u32_at(run_vcpu_out), KVM_EXIT_HLT, 0);
}

/*
 * Step 15: KVM_RUN
 * Expected: 0.
 * KVM_RUN until HLT loads and saves the guest FPU: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run
 */
static void step_15(void)
{
	long ret;

	ret = run_vcpu();
	if (check("15 KVM_RUN", ret, 0))
		expect_value("exit_reason", u32_at(run_vcpu_out), KVM_EXIT_HLT, 0);

	/* KVM_GET_XCRS returns the last accepted XCR0: arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xcrs */
	ret = get_xcrs();
	if (check("15.1 KVM_GET_XCRS of vcpu0", ret, 0))
		expect_value("XCR0", u64_at(get_xcrs_out + 16), XFEATURE_MASK_FP, 0);
}

/*
 * Step 16: KVM_GET_REGS
 * Expected: 0.
 * a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_16(void)
{
	long ret;

	ret = get_regs();
	check("16 KVM_GET_REGS", ret, 0);
	if (ret >= 0)
		memcpy(kept_kvm_regs, get_regs_out, 144);
	else
		give_up("there is nothing to restore");
}

/*
 * Step 17: KVM_SET_REGS(rbx=0x10000000000000, rip=0xc4497124b3878515)
 * Expected: 0.
 * a SET ioctl accepts what the GET ioctl returned: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_17(void)
{
	long ret;

	ret = set_regs();
	check("17 KVM_SET_REGS(rbx=0x10000000000000, rip=0xc4497124b3878515)", ret, 0);

	/*
	 * KVM_GET_REG_LIST has the registers of KVM itself: arch/x86/kvm/x86.c: kvm_get_reg_list.  Not judged where it
	 * depends on ONE_REG_MSRS
	 */
	ret = get_reg_list();
	show("17.1 KVM_GET_REG_LIST", ret);

	/* KVM_GET_ONE_REG reads an MSR as KVM_GET_MSRS does, or the guest's SSP: arch/x86/kvm/x86.c: kvm_get_set_one_reg */
	ret = get_one_reg_2();
	show("17.2 KVM_GET_ONE_REG(0x20300002000000ce)", ret);
}

/*
 * Step 18: KVM_SET_REGS(rbx=0xfffffffffffffffe, r8=0x93110)
 * Expected: 0.
 * a SET ioctl accepts what the GET ioctl returned: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl
 */
static void step_18(void)
{
	long ret;

	ret = set_regs_2();
	check("18 KVM_SET_REGS(rbx=0xfffffffffffffffe, r8=0x93110)", ret, 0);

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu();
	if (check("18.1 KVM_GET_FPU", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_out + 128), 0x27f, 0);
		expect_bytes(get_fpu_out + 0, &expected_18);
	}

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_regs();
	check("18.2 KVM_GET_REGS", ret, 0);
	if (ret >= 0)
		memcpy(kept_kvm_regs, get_regs_out, 144);
	else
		give_up("there is nothing to restore");

	/* KVM_GET_FPU returns what KVM_GET_XSAVE2 returns: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_get_fpu */
	ret = get_fpu_2();
	if (check("18.3 KVM_GET_FPU into 4095 bytes", ret, 0)) {
		expect_value("FCW", u16_at(get_fpu_2_out + 128), 0x27f, 0);
		expect_bytes(get_fpu_2_out + 0, &expected_18);
	}

	/* a GET ioctl returns what was set, or the state after reset: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_vcpu_events();
	check("18.4 KVM_GET_VCPU_EVENTS", ret, 0);

	/* KVM_GET_XSAVE works until the image is larger than 4096 bytes: arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl */
	ret = get_xsave();
	if (check("18.5 KVM_GET_XSAVE", ret, 0))
		expect_image(get_xsave_out, 4160, (const struct content *const[]){ &expected_18_2 }, 1);
}

int main(int argc, char **argv)
{
	go_on = argc > 1 && strcmp(argv[1], "--go-on") == 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	end_within(60, "ended early: did not end");
	need_kvm();
	need_guest_components(0x602e7);
	need_mxcsr_mask(0xffff);
	map_shared(shared_fd(27840), 27840);
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
	step_18();
	return verdict();
}
