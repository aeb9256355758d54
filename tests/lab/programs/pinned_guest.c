/*
 * A KVM guest on each processor in turn, and on both at once: each processor has XFD, tiles and an interrupt
 * controller of its own.
 */
#include "guest.h"
#include <sched.h>
#include <sys/wait.h>
#include "tiles.h"

#define V3 "vol.3 "
#define MSR_APIC_BASE 0x1b
#define MSR_EOI 0x80b
#define MSR_SPURIOUS 0x80f
#define MSR_SELF_IPI 0x83f
#define MSR_TIMER 0x832
#define MSR_TIMER_COUNT 0x838
#define MSR_TIMER_DIVIDE 0x83e
#define IPI_VECTOR 0x28
#define TIMER_VECTOR 0x29

static struct tile_config config;
static u8 rows[16][64], seen[16][64];
static int processor;

static void interrupts_arrive(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 0xc00); /* x2APIC */
	wrmsr(MSR_SPURIOUS, 0x1ff);
	GUEST_TRY("sti\n\twrmsr\n\tnop\n\tnop", "c"(MSR_SELF_IPI), "a"(IPI_VECTOR), "d"(0));
	asm volatile("cli");
	u64 ipi = last_trap;
	wrmsr(MSR_EOI, 0);
	wrmsr(MSR_TIMER_DIVIDE, 0xb);
	wrmsr(MSR_TIMER, TIMER_VECTOR);
	wrmsr(MSR_TIMER_COUNT, 1000000);
	GUEST_TRY("sti\n\thlt", "i"(0));
	asm volatile("cli");
	u64 timer = last_trap;
	wrmsr(MSR_EOI, 0);
	check("self-ipi-arrives", V3 "11.12.11", IPI_VECTOR, ipi);
	check("timer-wakes-a-halted-guest", V3 "11.5.4", TIMER_VECTOR, timer);
}

static void guest(void)
{
	write_cr4(read_cr4() | CR4_OSXSAVE);
	xsetbv(0, X87 | SSE | AVX | TILECFG | TILEDATA);
	if (processor == 1)
		wrmsr(MSR_XFD, TILEDATA);
	ldtilecfg(&config);
	GUEST_TRY(TILELOADD0_RDI_RSI, "D"(rows), "S"(64ull));
	check("xfd-is-of-one-processor", "vol.1 13.14", processor == 1 ? NM : (u64)NO_TRAP, last_trap);
	wrmsr(MSR_XFD, 0);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	interrupts_arrive();
	for (volatile int i = 0; i < 20000; i++)
		;
	fill(seen, 0, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	check("tiles-are-of-one-processor", "vol.1 13.6", 1, same(seen, rows, 1024));
}

/* Runs a guest on one processor in a process of its own; returns the process. */
static pid_t start(int on)
{
	cpu_set_t set;

	fflush(stdout);
	pid_t child = fork();
	if (child)
		return child;
	result_count = 0; /* the parent's */
	CPU_ZERO(&set);
	CPU_SET(on, &set);
	must(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
	processor = on;
	scatter(rows, 20 + on, sizeof rows);
	configure_all(&config);
	make_guest();
	run_guest(guest);
	check("runs-where-it-is-pinned", V3 "9.4", on, sched_getcpu());
	exit(print_results() != 0);
}

static int succeeded(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && status == 0;
}

int main(void)
{
	pid_t children[2];
	int online = sysconf(_SC_NPROCESSORS_ONLN), all = 1;

	check("processors", V3 "9.4", 2, online);
	for (int on = 0; on < online; on++)
		all &= succeeded(start(on));
	check("one-after-the-other", V3 "9.4", 1, all);
	for (int on = 0; on < online; on++)
		children[on] = start(on);
	for (int on = 0; on < online; on++)
		all &= succeeded(children[on]);
	check("both-at-once", V3 "9.4", 1, all);
	return print_results() != 0;
}
