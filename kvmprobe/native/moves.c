/*
 * The CPU of each call: a task moves to the next CPU before a call.  The vCPU is loaded there, and with VMX its VMCS is cleared
 * on the CPU before (arch/x86/kvm/vmx/vmx.c: vmx_vcpu_load_vmcs).
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "session.h"

/* The CPUs that the process may use; none if it does not move. */
static cpu_set_t usable;

/* Lets the calls of this process and of its tasks be made on one CPU after another. */
void move_between_cpus(void)
{
	if (sched_getaffinity(0, sizeof(usable), &usable) < 0)
		cannot_run("sched_getaffinity(2): %s", strerror(errno));
	if (CPU_COUNT(&usable) < 2)
		cannot_run("the process may use one CPU only");
}

/* Moves the calling task to the next CPU. */
void move_on(void)
{
	int cpu = sched_getcpu();
	cpu_set_t next;

	if (!CPU_COUNT(&usable))
		return;
	do
		cpu = (cpu + 1) % CPU_SETSIZE;
	while (!CPU_ISSET(cpu, &usable));
	CPU_ZERO(&next);
	CPU_SET(cpu, &next);
	if (sched_setaffinity(0, sizeof(next), &next) < 0)
		cannot_run("sched_setaffinity(2): %s", strerror(errno));
}
