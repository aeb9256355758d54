/*
 * A fault of the executor itself ends a scenario as BROKEN.  The reason is stored in memory that the scenario's process,
 * its tasks and the zygote share; the zygote reports it after the process has ended.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session.h"

struct report {
	int begun;		/* number of steps */
	char broken[256];	/* reason */
};

static struct report *report;
/* The zygote.  Other processes with the report are a scenario's process and its tasks. */
static pid_t zygote;

void share_report(void)
{
	void *memory = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		cannot_run("cannot map shared memory for a report");
	report = memory;
	zygote = getpid();
}

void clear_report(void)
{
	*report = (struct report){ 0 };
}

void begin_step(int number)
{
	__atomic_store_n(&report->begun, number + 1, __ATOMIC_RELAXED);
}

int begun_steps(void)
{
	return __atomic_load_n(&report->begun, __ATOMIC_RELAXED);
}

const char *broken_because(void)
{
	return report->broken[0] ? report->broken : "no reason given";
}

void cannot_run(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	if (report && getpid() != zygote)
		vsnprintf(report->broken, sizeof(report->broken), format, values);
	else
		vdprintf(STDERR_FILENO, format, values);
	va_end(values);
	_exit(KVMPROBE_BROKEN);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	/*
	 * The executor uses no protection keys, so the kernel has not restored PKRU.  Fault again with the default action,
	 * to end as a scenario that the kernel killed.
	 */
	if (number == SIGSEGV && info->si_code == SEGV_PKUERR) {
		signal(number, SIG_DFL);
		return;
	}
	cannot_run("the executor received signal %d (si_code %d, si_addr %p)", number, info->si_code, info->si_addr);
}

/*
 * An Oops kills a task without running its handlers, so a signal that arrives here is the executor's own fault.  Scenarios'
 * processes inherit the handlers: there is no time in which one of them has none.
 */
void report_own_faults(void)
{
	const int faults[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigaction(faults[i], &action, NULL);
}
