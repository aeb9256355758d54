/*
 * The yardstick of scripts/bench: issues the calls of the same scenarios in the same order, each scenario in
 * a freshly forked child of a process that never asked for permission, opened /dev/kvm or touched AMX.
 *
 *     bench_baseline DEVICE REPEATS
 *
 * bench_calls.h, which scripts/bench generates, holds the lowered calls as tables.  Results are not looked
 * at: what the kernel refuses is part of the scenarios.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANARY = 0xa5, PAGE = 4096, LARGEST_OUTPUT = 1 << 16, CAPTURES = 4 };

enum kind { OPEN_KVM, IOCTL_VALUE, IOCTL_LITERAL, IOCTL_OUTPUT, IOCTL_CAPTURED, ARCH_PRCTL, MAP_MEMORY, RUN_VCPU };
enum role { KVM, VM, VCPU, ROLES };

struct call {
	enum kind kind;
	enum role on;
	int binds; /* a role, or -1 */
	unsigned long number;
	unsigned long value; /* argument; size of an output; guest address; immediate_exit */
	int capture;
	const unsigned char *bytes;
	size_t length;
};

struct scenario {
	const uint16_t *calls;
	size_t count;
};

#include "bench_calls.h"

static int fds[ROLES];
static struct kvm_run *run_area;
static size_t run_size;
static unsigned char outputs[CAPTURES + 1][LARGEST_OUTPUT]; /* the last one is for what nobody captures */

static void map_memory(const struct call *call)
{
	size_t size = (call->length + PAGE - 1) / PAGE * PAGE;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.slot = (uint32_t)call->number,
		.guest_phys_addr = call->value,
		.memory_size = size,
		.userspace_addr = (uintptr_t)memory,
	};

	memcpy(memory, call->bytes, call->length);
	ioctl(fds[call->on], KVM_SET_USER_MEMORY_REGION, &region);
}

static void bind_result(const struct call *call, int fd)
{
	fds[call->binds] = fd;
	if (call->binds == VCPU)
		run_area = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void issue(const struct call *call, const char *device)
{
	unsigned char *output = outputs[call->capture];
	int result;

	switch (call->kind) {
	case OPEN_KVM:
		fds[KVM] = open(device, O_RDWR | O_CLOEXEC);
		run_size = (size_t)ioctl(fds[KVM], KVM_GET_VCPU_MMAP_SIZE, 0);
		break;
	case IOCTL_VALUE:
		result = ioctl(fds[call->on], call->number, call->value);
		if (call->binds >= 0 && result >= 0)
			bind_result(call, result);
		break;
	case IOCTL_LITERAL:
		ioctl(fds[call->on], call->number, call->bytes);
		break;
	case IOCTL_OUTPUT:
		memcpy(output, call->bytes, call->length);
		memset(output + call->length, CANARY, call->value - call->length);
		ioctl(fds[call->on], call->number, output);
		break;
	case IOCTL_CAPTURED:
		ioctl(fds[call->on], call->number, output);
		break;
	case ARCH_PRCTL:
		syscall(SYS_arch_prctl, call->number, call->value);
		break;
	case MAP_MEMORY:
		map_memory(call);
		break;
	case RUN_VCPU:
		run_area->immediate_exit = (uint8_t)call->value;
		ioctl(fds[call->on], KVM_RUN, 0);
		break;
	}
}

static int run_in_child(const struct scenario *scenario, const char *device)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		for (size_t i = 0; i < scenario->count; i++)
			issue(&calls[scenario->calls[i]], device);
		_exit(0);
	}
	return pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0;
}

int main(int argc, char **argv)
{
	long repeats = argc == 3 ? atol(argv[2]) : 0;

	while (repeats-- > 0) {
		for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
			if (run_in_child(&scenarios[i], argv[1])) {
				fprintf(stderr, "scenario %zu did not end well\n", i);
				return 1;
			}
		}
	}
	return 0;
}
