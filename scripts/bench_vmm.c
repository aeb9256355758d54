/*
 * Programs that `scripts/bench --trace` measures with and without `kvmprobe trace`.
 *
 * bench_vmm paced SECONDS	eight vCPUs that run in bursts for so long, with calls between them; stdout: each second, and at
 *				the end, KVM_RUNs, other calls and nanoseconds of CPU time so far; exits with status 9
 * bench_vmm bursts RUNS	one vCPU: for each line of standard input RUNS KVM_RUNs; stdout: nanoseconds of CPU time of each
 * bench_vmm timed COMMAND...	runs a command; the last line of stdout: nanoseconds until it has ended
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "traced_vm.h"

/* Of a paced thread: about a third of a processor for all eight. */
enum { BURST = 1500, PAUSE_US = 250000, BURSTS_BETWEEN_CALLS = 10, PACED_STATUS = 9 };

static atomic_long all_runs, all_calls;
static atomic_int paced_end;

static void *paced_thread(void *argument)
{
	struct vcpu *vcpu = argument;
	long burst;

	for (burst = 0; !paced_end; burst++) {
		if (burst % BURSTS_BETWEEN_CALLS == 0) {
			require(set_registers(vcpu), "KVM_SET_REGS");
			all_calls += 3;
		}
		run(vcpu, BURST);
		all_runs += BURST;
		usleep(PAUSE_US);
	}
	return NULL;
}

static long long cpu_time(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return used.tv_sec * 1000000000LL + used.tv_nsec;
}

static void print_counts(void)
{
	printf("%ld %ld %lld\n", (long)all_runs, (long)all_calls, cpu_time());
	fflush(stdout);
}

static int paced(long seconds)
{
	struct vcpu vcpus[VCPUS];
	pthread_t tasks[VCPUS];
	int i;

	make_vm("\xe6\x10\xeb\xfc");
	for (i = 0; i < VCPUS; i++)
		vcpus[i] = make_vcpu(i);
	for (i = 0; i < VCPUS; i++)
		pthread_create(&tasks[i], NULL, paced_thread, &vcpus[i]);
	while (seconds--) {
		sleep(1);
		print_counts();
	}
	paced_end = 1;
	for (i = 0; i < VCPUS; i++)
		pthread_join(tasks[i], NULL);
	print_counts();
	return PACED_STATUS;
}

static void bursts(long runs)
{
	struct vcpu vcpu;
	char line[16];

	make_vm("\xe6\x10\xeb\xfc");
	vcpu = make_vcpu(0);
	require(set_registers(&vcpu), "KVM_SET_REGS");
	while (fgets(line, sizeof(line), stdin)) {
		long long before = cpu_time();

		run(&vcpu, runs);
		printf("%lld\n", cpu_time() - before);
		fflush(stdout);
	}
}

static int timed(char **command)
{
	struct timespec begun, ended;
	int status;
	pid_t pid;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	pid = fork();
	if (!pid) {
		execvp(command[0], command);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("\n%lld\n", (ended.tv_sec - begun.tv_sec) * 1000000000LL + ended.tv_nsec - begun.tv_nsec);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int count, char **words)
{
	if (count < 3)
		return 2;
	if (!strcmp(words[1], "paced"))
		return paced(atol(words[2]));
	if (!strcmp(words[1], "bursts"))
		bursts(atol(words[2]));
	else if (!strcmp(words[1], "timed"))
		return timed(words + 2);
	return 0;
}
