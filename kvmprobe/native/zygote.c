/*
 * The zygote: a fork of the worker that forks a child for each scenario and does nothing else.  It is written in C because
 * each page that a child writes for the first time costs a fault and a copy: a scenario in Python had hundreds of them,
 * which took longer than its calls.  It is a separate process because fork() also costs the parent such faults.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session.h"

static struct session session = {
	.descriptor_names = { .kind = "descriptor", .most = MOST_DESCRIPTORS },
	.capture_names = { .kind = "captured output", .most = MOST_CAPTURES },
	.memory_names = { .kind = "memory", .most = MOST_MEMORIES },
	.task_names = { .kind = "task", .most = MOST_TASKS },
};

static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(KVMPROBE_BROKEN);
}

/* Waits for a scenario's process, up to its deadlines. */
static enum kvmprobe_overrun overrun(const struct kvmprobe_request *request, pid_t pid)
{
	struct pollfd process = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int left = request->deadline_ms, begun = -1, now = 0, ready = 0;

	while (ready == 0 && left > 0 && begun != now) {
		int wait = left < request->step_ms ? left : request->step_ms;

		begun = begun_steps();
		do
			ready = poll(&process, 1, wait);
		while (ready < 0 && errno == EINTR);
		now = begun_steps();
		left -= wait;
	}
	close(process.fd);
	return ready ? KVMPROBE_IN_TIME : left > 0 ? KVMPROBE_OVERRUN_STEP : KVMPROBE_OVERRUN_SCENARIO;
}

static void report_broken(int number)
{
	int begun = begun_steps();

	line_printf("{\"broken\":%d,\"traceback\":\"step %d: ", number, begun ? begun - 1 : 0);
	line_text(broken_because());
	line_printf("\"}");
	line_send(&session.channels);
}

static pid_t start(const struct kvmprobe_request *request, struct kvmprobe_call **calls)
{
	pid_t zygote = getpid(), pid = fork();

	if (pid == 0) {
		die_with(zygote);
		close(session.channels.requests);
		close(session.channels.answers);
		report_own_faults();
		session.gate = request->gate;
		_exit(run_scenario(&session, request->number, calls, request->steps));
	}
	return pid;
}

/* Returns 0 if the worker cannot be answered. */
static int run_request(const struct kvmprobe_request *request, struct kvmprobe_call **calls)
{
	struct kvmprobe_ended ended = { .pid = start(request, calls) };

	if (ended.pid < 0)
		return 0;
	ended.overrun = overrun(request, ended.pid);
	if (ended.overrun && !write_whole(session.channels.answers, &ended, sizeof(ended)))
		return 0;
	ended.overrun = KVMPROBE_IN_TIME;
	while (waitpid(ended.pid, &ended.status, 0) < 0 && errno == EINTR)
		;
	/* The scenario's tasks, which its end has killed, are now children of the zygote. */
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
	if (WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == KVMPROBE_BROKEN)
		report_broken(request->number);
	return write_whole(session.channels.answers, &ended, sizeof(ended));
}

static void serve(void)
{
	static struct kvmprobe_call *calls[MOST_ADDRESSES];
	struct kvmprobe_request request;

	while (read_whole(session.channels.requests, &request, sizeof(request))) {
		size_t count = (size_t)request.addresses;

		if (count > MOST_ADDRESSES || !read_whole(session.channels.requests, calls, count * sizeof(calls[0])))
			return;
		clear_report();
		if (!run_request(&request, calls))
			return;
	}
}

int kvmprobe_zygote(const struct kvmprobe_channels *channels)
{
	pid_t worker = getpid(), pid = fork();

	if (pid == 0) {
		die_with(worker);
		session.channels = *channels;
		close(channels->others[0]);
		close(channels->others[1]);
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
		share_report();
		serve();
		_exit(0);
	}
	return pid < 0 ? -errno : pid;
}
