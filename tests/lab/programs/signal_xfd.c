/*
 * Linux commit 388eff894d6b ("x86/fpu: Ensure XFD state on signal delivery"): a process without permission for tiles is switched
 * out while the kernel writes a signal frame, and another process, which uses tiles, runs meanwhile.  A kernel without that
 * commit enters the signal handler with the other process's IA32_XFD.  Prints "refused" if the handler's tile instruction is
 * refused (SIGILL), as it must be, or "executed".
 *
 * The switch needs one processor and no luck: the upper part of the frame, the XSAVE area, is on a page that is there; the
 * lower part is on a page that is missing until the other process supplies it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "tiles.h"

enum { PAGE = 4096, MISSING = 2, PAGES = 4, REQ_XCOMP_PERM = 0x1023, XTILE_DATA = 18 };
/*
 * Without tiles the XSAVE area of a frame takes 2696 or 2816 bytes, and 4 (arch/x86/kernel/fpu/signal.c: fpu__alloc_mathframe);
 * the rest of the frame, 440 bytes below it, then begins on the missing page.
 */
enum { TOP = 3 * PAGE + 2816 + 4 + 128 };

extern const char behind_tile_instruction[];
static volatile int refused;
static struct tile_config config;

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void on_refusal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	refused = 1;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (long)behind_tile_instruction;
}

static void on_signal(int number)
{
	(void)number;
	/* XFD does not disable LDTILECFG: SDM vol.1 §13.14 "Extended Feature Disable (XFD)". */
	asm volatile(LDTILECFG_RDI TILEZERO0
		     ".globl behind_tile_instruction\nbehind_tile_instruction:\n\t" TILERELEASE : : "D"(&config) : "memory");
}

/* Uses tiles, waits for the fault, supplies the page, and sleeps with its tiles in use. */
static void serve(int faults, int ready, uintptr_t missing)
{
	struct pollfd wait = { .fd = faults, .events = POLLIN };
	struct uffdio_zeropage page = { .range = { missing, PAGE } };

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILE_DATA) < 0)
		fail("ARCH_REQ_XCOMP_PERM");
	ldtilecfg(&config);
	asm volatile(TILEZERO0 : : : "memory");
	if (write(ready, "", 1) != 1 || poll(&wait, 1, -1) != 1 || ioctl(faults, UFFDIO_ZEROPAGE, &page) < 0)
		fail("supply the page");
	pause();
	exit(0);
}

static int register_missing(uintptr_t missing)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .range = { missing, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (faults < 0 || ioctl(faults, UFFDIO_API, &api) < 0 || ioctl(faults, UFFDIO_REGISTER, &range) < 0)
		fail("userfaultfd");
	return faults;
}

int main(void)
{
	struct sigaction refusal = { .sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO };
	struct sigaction signalled = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	uint8_t *stack = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t alternate = { .ss_sp = stack, .ss_size = TOP };
	uintptr_t missing = (uintptr_t)stack + MISSING * PAGE;
	int ready[2], faults;
	char byte;

	if (stack == MAP_FAILED || pipe(ready) < 0)
		fail("memory and a pipe");
	config.palette = 1;
	config.rows[0] = 1;
	config.colsb[0] = 64;
	memset(stack, 0, MISSING * PAGE);
	memset(stack + (MISSING + 1) * PAGE, 0, PAGE);
	faults = register_missing(missing);
	if (sigaltstack(&alternate, NULL) < 0)
		fail("sigaltstack");
	sigaction(SIGILL, &refusal, NULL);
	sigaction(SIGUSR1, &signalled, NULL);
	if (fork() == 0)
		serve(faults, ready[1], missing);
	if (read(ready[0], &byte, 1) != 1)
		fail("wait for the other process");
	raise(SIGUSR1);
	puts(refused ? "refused" : "executed");
	return 0;
}
