/*
 * Calls with live registers: the calling thread has a pattern, or INIT, in all of its FPU registers while it makes a call, and
 * reads them at once when it returns.  A call must leave them as they were.  live_call.S loads and reads them, so that no code
 * of the compiler or of libc runs in between.
 *
 * Only components that XCR0 has are loaded and read; on a processor without XSAVE, calls are made as usual.  Tiles are loaded
 * if the process has permission for them.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "live.h"
#include "session.h"
#include "shared/fallbacks.h"
#include "shared/process.h"

static struct live_call live;
static size_t image_size;
static int registers;		/* KVMPROBE_AS_THEY_ARE, ... */
static enum owner owner;
static unsigned int calls;
static int needs_no_memory;

/* Lets the calls of this process and of its tasks be made with these registers. */
void use_registers_of(enum owner whose, int wanted)
{
	uint64_t enabled = wanted == KVMPROBE_AS_THEY_ARE ? 0 : enabled_components();

	if (!enabled)
		return;
	image_size = find_places(enabled);
	live.mask = enabled & ~(1ul << PKRU_NR);
	live.has_pkru = enabled >> PKRU_NR & 1;
	live.loaded = new_memory(image_size);
	live.before = new_memory(image_size);
	live.after = new_memory(image_size);
	live.initial = new_memory(image_size);
	fill_initial(live.initial);
	owner = whose;
	registers = wanted;
}

void use_registers(int wanted)
{
	use_registers_of(OF_CALLER, wanted);
}

/* Notes whether the kernel uses memory of the process in this call; the guest's memory is the process's as well. */
void prepare_registers(const struct kvmprobe_call *call)
{
	needs_no_memory = (call->kind == KVMPROBE_RUN && call->argument) || (call->kind == KVMPROBE_ARCH_PRCTL && !call->blank);
}

/* All keys are denied, key 0 too, only where no memory is used: elsewhere the call would rightly be EFAULT. */
static uint32_t next_pkru(void)
{
	/* arch/x86/mm/pkeys.c: init_pkru_value */
	if (registers == KVMPROBE_ALL_INIT)
		return 0x55555554;
	if (registers == KVMPROBE_PKRU_INIT)
		return 0;
	if (needs_no_memory)
		return 0xffffffff;
	if (owner == OF_COMPETITOR)
		return 0x69696968 ^ (calls & 0xff) << 8;
	return calls & 1 ? 0xfffffffc : 0x96969694 ^ (calls & 0xff) << 8;
}

static int tiles_are_permitted(void)
{
	uint64_t permitted = 0;

	return syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &permitted) == 0 && permitted >> XTILE_DATA & 1;
}

/* A system call of three arguments; returns its result, or -1 with errno. */
long with_registers(long number, size_t first, size_t second, size_t third)
{
	uint64_t tiles = tiles_are_permitted() ? 0 : 1ul << XTILE_CFG | 1ul << XTILE_DATA;
	long result;

	live.number = (uint64_t)number;
	live.arguments[0] = first;
	live.arguments[1] = second;
	live.arguments[2] = third;
	memcpy(live.loaded, live.initial, image_size);
	if (registers == KVMPROBE_ALL_LIVE)
		fill_pattern(live.loaded, live.mask & ~tiles, owner, calls);
	live.pkru = next_pkru();
	result = live_call(&live);
	note_changes(&live, owner);
	calls++;
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

/* ioctl(2); KVM's are made with the registers. */
int kernel_ioctl(int fd, unsigned long request, size_t argument)
{
	if (registers == KVMPROBE_AS_THEY_ARE || _IOC_TYPE(request) != KVMIO)
		return ioctl(fd, request, argument);
	return (int)with_registers(SYS_ioctl, (size_t)fd, request, argument);
}

long kernel_arch_prctl(int code, size_t argument)
{
	if (registers == KVMPROBE_AS_THEY_ARE)
		return syscall(SYS_arch_prctl, code, argument);
	return with_registers(SYS_arch_prctl, (size_t)code, argument, 0);
}
