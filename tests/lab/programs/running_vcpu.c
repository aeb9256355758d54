/*
 * Calls while a vCPU runs: calls on another vCPU are made at once, calls on this one wait until KVM_RUN returns, which a signal
 * makes it do.  The state of both is what was restored; the guest touches none of it.
 */
#include "spinning_guest.h"
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

#define RUN "arch/x86/kvm/x86.c: kvm_arch_vcpu_ioctl_run"
#define MUTEX "virt/kvm/kvm_main.c: kvm_vcpu_ioctl"
#define GET "arch/x86/kvm/x86.c: kvm_vcpu_ioctl_x86_get_xsave"
enum { RUNNING = 0, OTHER = 1, ROUNDS = 8 };

/* A call by another thread; `ended` becomes readable. */
struct call {
	pthread_t thread;
	pid_t tid;
	int started, ended, fd;
	unsigned long number;
	void *argument;
	int result, error;
};

static void on_signal(int number)
{
	(void)number;
}

static void *make(void *argument)
{
	struct call *call = argument;
	u64 one = 1;

	call->tid = (pid_t)syscall(SYS_gettid);
	if (write(call->started, &one, sizeof one) != sizeof one)
		fail("eventfd");
	call->result = ioctl(call->fd, call->number, call->argument);
	call->error = call->result < 0 ? errno : 0;
	if (write(call->ended, &one, sizeof one) != sizeof one)
		fail("eventfd");
	return NULL;
}

static void begin(struct call *call, int vcpu, unsigned long number, void *argument)
{
	u64 one;

	*call = (struct call){ .started = eventfd(0, 0), .ended = eventfd(0, 0), .fd = vcpus[vcpu], .number = number,
			       .argument = argument };
	if (pthread_create(&call->thread, NULL, make, call) || read(call->started, &one, sizeof one) != sizeof one)
		fail("a thread");
}

static int has_ended(const struct call *call)
{
	struct pollfd ready = { .fd = call->ended, .events = POLLIN };

	return poll(&ready, 1, 0) == 1;
}

static void end(struct call *call)
{
	pthread_join(call->thread, NULL);
	close(call->started);
	close(call->ended);
}

/* Waits until a thread sleeps in ioctl(2): fs/proc/base.c: proc_pid_syscall prints "running" until it has been switched out. */
static void await_sleep(const struct call *call)
{
	char name[64], text[16] = "";
	int file;

	snprintf(name, sizeof name, "/proc/self/task/%d/syscall", call->tid);
	file = open(name, O_RDONLY | O_CLOEXEC);
	while (pread(file, text, sizeof text - 1, 0) > 0 && strtol(text, NULL, 10) != SYS_ioctl && !has_ended(call))
		sched_yield();
	close(file);
}

static void begin_run(struct call *run)
{
	run_areas[RUNNING]->immediate_exit = 0;
	guest_memory[FLAG] = 0;
	begin(run, RUNNING, KVM_RUN, NULL);
	while (!guest_memory[FLAG] && !has_ended(run))
		sched_yield();
}

static void check_round(u32 seed)
{
	struct kvm_xsave seen, given, expected;
	struct call run, read_it, set_it;

	expect("a-vcpu-is-restored-before-it-runs", GET, 0, set_image(RUNNING, seed));
	begin_run(&run);
	expect("another-vcpu-is-restored-meanwhile", MUTEX, 0, set_image(OTHER, seed + 2));
	expect("another-vcpu-has-its-own-state", GET, 1, has_image(OTHER, seed + 2));
	expect("the-guest-goes-on", RUN, 0, has_ended(&run));
	begin(&read_it, RUNNING, KVM_GET_XSAVE, &seen);
	await_sleep(&read_it);
	expect("a-read-of-a-running-vcpu-waits", MUTEX, 0, has_ended(&read_it));
	syscall(SYS_tkill, run.tid, SIGUSR1);
	end(&run);
	end(&read_it);
	expect("a-signal-ends-kvm-run", RUN, EINTR, run.error);
	expect("the-exit-is-that-of-a-signal", RUN, KVM_EXIT_INTR, (long)run_areas[RUNNING]->exit_reason);
	make_image((u8 *)&expected, seed);
	expect("the-read-shows-the-guests-state", GET, 1, read_it.result == 0 && same_vectors((u8 *)&expected, (u8 *)&seen));

	begin_run(&run);
	make_image((u8 *)&given, seed + 4);
	begin(&set_it, RUNNING, KVM_SET_XSAVE, &given);
	await_sleep(&set_it);
	expect("a-restore-of-a-running-vcpu-waits", MUTEX, 0, has_ended(&set_it));
	run_areas[RUNNING]->immediate_exit = 1;
	syscall(SYS_tkill, run.tid, SIGUSR1);
	end(&run);
	end(&set_it);
	expect("a-signal-ends-kvm-run-again", RUN, EINTR, run.error);
	expect("the-restore-comes-after-the-run", GET, 1, set_it.result == 0 && has_image(RUNNING, seed + 4));
	guest_memory[FLAG] = 0;
	expect("immediate-exit-ends-the-next-run", RUN, -1, ioctl(vcpus[RUNNING], KVM_RUN, 0));
	expect("which-did-not-enter-the-guest", RUN, 0, guest_memory[FLAG]);
	expect("the-restored-state-stays", GET, 1, has_image(RUNNING, seed + 4));
	expect("that-of-the-other-vcpu-too", GET, 1, has_image(OTHER, seed + 2));
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &action, NULL);
	make_guest_memory();
	make_vm();
	for (u32 round = 0; round < ROUNDS; round++)
		check_round(100 * round + 1);
	return failures != 0;
}
