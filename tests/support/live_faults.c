/*
 * Makes one call with live registers, in which a signal handler changes them as a faulty kernel would: the arguments name what
 * it changes, and whose: those of the caller, or of the process that competes, in whose read(2) of its timer it does so.  Prints
 * what the executor's observer reports.  The handler changes its frame, which the kernel restores as the call returns
 * (arch/x86/kernel/fpu/signal.c: fpu__restore_sig), so the registers really have changed.
 */
#include <cpuid.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "live.h"
#include "session.h"

/* An option of arch_prctl(2) that does not exist. */
enum { TRAPPED = 0x7777, REQ_XCOMP_PERM = 0x1023 };

static const char *fault;
/* Whether the handler changes anything yet. */
static volatile int *armed;
static pid_t caller;
static int faulty_competitor;

void cannot_run(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vfprintf(stderr, format, values);
	va_end(values);
	exit(1);
}

void line_raw(const char *text)
{
	fputs(text, stdout);
}

void line_number(long number)
{
	printf("%ld", number);
}

static int is(const char *name)
{
	return strcmp(fault, name) == 0;
}

/* Makes the call that the filter has prevented. */
static void read_instead(greg_t *registers)
{
	struct iovec place = { (void *)registers[REG_RSI], (size_t)registers[REG_RDX] };

	registers[REG_RAX] = readv((int)registers[REG_RDI], &place, 1);
}

static void change(uint8_t *frame)
{
	uint64_t tiles = 1ul << XTILE_DATA;

	if (is("mxcsr"))
		frame[MXCSR] ^= 0x20;
	if (is("fcw"))
		frame[0] ^= 0x01;
	if (is("xmm"))
		frame[XMM_REGISTERS + 17] ^= 0xff;
	if (is("ymm"))
		frame[place_of_component(2)->offset + 33] ^= 0xff;
	if (is("pkru"))
		memset(frame + place_of_component(PKRU_NR)->offset, 0, 4);
	if (is("tile-row"))
		memset(frame + place_of_component(XTILE_DATA)->offset + 64, 0x81, 64);
	if (is("no-tiles"))
		*(uint64_t *)(frame + XSTATE_BV) &= ~tiles;
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;

	(void)number;
	if (info->si_syscall == SYS_read)
		read_instead(machine->gregs);
	if (*armed && faulty_competitor == (getpid() != caller))
		change((uint8_t *)machine->fpregs);
}

/* Traps read(2), and arch_prctl(2) with the option that does not exist. */
static void trap_calls(void)
{
	struct sigaction action = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TRAPPED, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	sigaction(SIGSYS, &action, NULL);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		cannot_run("seccomp filters are not available");
}

int main(int count, char **arguments)
{
	if (count != 3)
		return 2;
	fault = arguments[1];
	faulty_competitor = strcmp(arguments[2], "competitor") == 0;
	caller = getpid();
	armed = mmap(NULL, sizeof(*armed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (is("tile-row") || is("no-tiles") || is("tiles-kept"))
		syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILE_DATA);
	trap_calls();
	share_changes();
	start_competitor();
	use_registers(KVMPROBE_ALL_LIVE);
	*armed = 1;
	begin_call(3);
	kernel_arch_prctl(TRAPPED, 0);
	meet_competitor();
	printf("{\"r\":[]");
	line_changes();
	printf("}\n");
	return 0;
}
