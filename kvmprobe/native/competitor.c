/*
 * A task that competes with the scenario's process for its CPU: another process, with a pattern of its own in all FPU
 * registers.  It sleeps in read(2) of a timer with these registers, and live_call.S reads them when it wakes.  Its real-time
 * priority makes it run when the timer expires, also if the CPU is in the guest then.
 *
 * During a call the timer expires after a time, again after twice that time, and so on, so that a call ends on a slow machine
 * as well.  After a call the scenario's process waits for one more round.
 *
 * The line of a step reports how many rounds were made during its calls:
 *     "w":ROUNDS
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "live.h"
#include "session.h"
#include "shared/fallbacks.h"

enum { NS_PER_S = 1000000000, FIRST_NS = 4000, FIRST_TIMES = 6 };

static struct {
	int process;	/* pidfd; 0 if no task competes */
	int timer;
	int rounds_made;	/* eventfd: a round that was waited for */
} competitor;

/* Of both processes. */
static struct {
	atomic_int awaited;	/* whether the scenario's process waits for a round */
	atomic_long rounds;	/* made during calls */
	_Atomic uint64_t next_ns;	/* until the next round of the same call */
} *shared;

static void set_timer(uint64_t nanoseconds)
{
	struct itimerspec when = { .it_value = { (time_t)(nanoseconds / NS_PER_S), (long)(nanoseconds % NS_PER_S) } };

	if (timerfd_settime(competitor.timer, 0, &when, NULL) < 0)
		cannot_run("timerfd_settime(2): %s", strerror(errno));
}

static void make_round(void)
{
	uint64_t expirations, one = 1;

	if (with_registers(SYS_read, (size_t)competitor.timer, (size_t)&expirations, sizeof(expirations)) < 0)
		cannot_run("a task that competes cannot read its timer: %s", strerror(errno));
	if (!atomic_exchange(&shared->awaited, 0)) {
		atomic_fetch_add(&shared->rounds, 1);
		set_timer(shared->next_ns *= 2);
	} else if (write(competitor.rounds_made, &one, sizeof(one)) != sizeof(one)) {
		cannot_run("a task that competes cannot report a round: %s", strerror(errno));
	}
}

/* The permission for tiles is this process's own.  Without the right to a real-time priority it keeps the usual one. */
__attribute__((noreturn)) static void compete(pid_t parent)
{
	const struct sched_param lowest = { .sched_priority = 1 };

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
	syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILE_DATA);
	use_registers_of(OF_COMPETITOR, KVMPROBE_ALL_LIVE);
	sched_setscheduler(0, SCHED_FIFO, &lowest);
	for (;;)
		make_round();
}

static void stay_on_this_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(sched_getcpu(), &cpus);
	if (sched_setaffinity(0, sizeof(cpus), &cpus) < 0)
		cannot_run("sched_setaffinity(2): %s", strerror(errno));
}

/* Starts the task; the scenario's process, and tasks that it creates, share their CPU with it from here on. */
void start_competitor(void)
{
	pid_t parent = getpid(), pid;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	competitor.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	competitor.rounds_made = eventfd(0, EFD_CLOEXEC);
	if (shared == MAP_FAILED || competitor.timer < 0 || competitor.rounds_made < 0)
		cannot_run("a task that competes needs memory, a timer and an eventfd: %s", strerror(errno));
	stay_on_this_cpu();
	pid = fork();
	if (pid == 0)
		compete(parent);
	competitor.process = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0);
	if (competitor.process < 0)
		cannot_run("cannot start a task that competes: %s", strerror(errno));
	meet_competitor();
}

/* Lets the task run during the call that follows: at other times than in the call before. */
void let_compete(void)
{
	static unsigned int calls;

	if (!competitor.process)
		return;
	shared->next_ns = (uint64_t)FIRST_NS << calls++ % FIRST_TIMES;
	set_timer(shared->next_ns);
}

/* Waits for a round; the task has then compared its registers with what they were before the last call. */
void meet_competitor(void)
{
	struct pollfd ready[] = { { competitor.rounds_made, POLLIN, 0 }, { competitor.process, POLLIN, 0 } };
	uint64_t rounds;

	if (!competitor.process)
		return;
	shared->awaited = 1;
	set_timer(1);
	while (poll(ready, 2, -1) < 0)
		;
	if (!(ready[0].revents & POLLIN) || read(competitor.rounds_made, &rounds, sizeof(rounds)) != sizeof(rounds))
		cannot_run("the task that competes has ended");
}

/* Appends the rounds of a step, if a task competes. */
void line_rounds(void)
{
	if (!competitor.process)
		return;
	line_raw(",\"w\":");
	line_number(atomic_exchange(&shared->rounds, 0));
}
