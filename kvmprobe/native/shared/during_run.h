/* A vCPU that one thread runs while another one makes a call on it. */
struct other_run {
	int vcpu, caller;	/* caller: /proc/PID/task/TID/syscall of the thread that makes the call */
	int kick;		/* KVMPROBE_BY_SIGNAL, ... */
	struct kvm_run *area;
	int runner;		/* id of the thread that calls KVM_RUN */
	long result;		/* of KVM_RUN */
	int ended, kicked, returned;
};


static void *run_until_kicked(void *argument)
{
	struct other_run *run = argument;

	run->runner = (int)syscall(SYS_gettid);
	run->result = result_of(syscall(SYS_ioctl, run->vcpu, KVM_RUN, 0));
	__atomic_store_n(&run->ended, 1, __ATOMIC_RELEASE);
	return NULL;
}


static void kick_runner(const struct other_run *run)
{
	run->area->immediate_exit = run->kick == KVMPROBE_WITH_IMMEDIATE_EXIT;
	syscall(SYS_tgkill, getpid(), run->runner, SIGUSR1);
}


#include <sched.h>
#include <signal.h>
/* Ends KVM_RUN once the caller sleeps in ioctl(2): until then Linux prints "running" (fs/proc/base.c: proc_pid_syscall). */
static void *kick_when_caller_waits(void *argument)
{
	struct other_run *run = argument;
	char number[8] = "";

	while (!__atomic_load_n(&run->returned, __ATOMIC_ACQUIRE)) {
		if (pread(run->caller, number, sizeof(number) - 1, 0) > 0 && strtol(number, NULL, 10) == SYS_ioctl) {
			run->kicked = 1;
			kick_runner(run);
			break;
		}
		sched_yield();
	}
	return NULL;
}


#include <signal.h>
static void on_kick(int number)
{
	(void)number;
}


#include <fcntl.h>
#include <signal.h>
static void expect_kick(struct other_run *run)
{
	struct sigaction action = { .sa_handler = on_kick };
	char name[64];

	sigaction(SIGUSR1, &action, NULL);
	snprintf(name, sizeof(name), "/proc/self/task/%ld/syscall", (long)syscall(SYS_gettid));
	run->caller = open(name, O_RDONLY | O_CLOEXEC);
	if (run->caller < 0)
		cannot_run("a call during KVM_RUN needs %s: %s", name, strerror(errno));
}


#include <pthread.h>
static pthread_t start_thread(void *(*function)(void *), struct other_run *run)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, function, run) != 0)
		cannot_run("cannot create a thread for KVM_RUN");
	return thread;
}


#include <pthread.h>
#include <sched.h>
/*
 * Makes an ioctl on a vCPU while another thread runs it; the guest spins.  The ioctl must wait until KVM_RUN ends, which a third
 * thread makes it do.  Both fail alike on a vCPU of another memory: that is its result.
 */
static long ioctl_during_run(int vcpu, unsigned long request, size_t argument, struct kvm_run *area, uint8_t *memory, int kick)
{
	const uint32_t command = PAYLOAD_SPIN;
	const uint8_t *state = memory + PAYLOAD_RESULT + PAYLOAD_RESULT_VECTOR;
	struct other_run run = { .vcpu = vcpu, .kick = kick, .area = area };
	pthread_t runner, kicker;
	long result;

	expect_kick(&run);
	memset(memory + PAYLOAD_RESULT, 0, PAYLOAD_RESULT_SIZE);
	memcpy(memory + PAYLOAD_COMMAND, &command, sizeof(command));
	area->immediate_exit = 0;
	runner = start_thread(run_until_kicked, &run);
	while (u64_at(state) != PAYLOAD_SPINNING && !__atomic_load_n(&run.ended, __ATOMIC_ACQUIRE))
		sched_yield();
	kicker = start_thread(kick_when_caller_waits, &run);
	result = result_of(ioctl(vcpu, request, argument));
	__atomic_store_n(&run.returned, 1, __ATOMIC_RELEASE);
	pthread_join(kicker, NULL);
	if (!run.kicked)
		kick_runner(&run);
	pthread_join(runner, NULL);
	area->immediate_exit = 0;
	close(run.caller);
	if (run.result != -EINTR)
		return run.result == result ? result : KVMPROBE_NOT_INTERRUPTED;
	return run.kicked ? result : KVMPROBE_NOT_WAITED;
}
