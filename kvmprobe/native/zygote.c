/*
 * The zygote: a small program that forks a child for each scenario.  It is a program of its own because fork() and exit() take
 * time for every page that a process has: for a fork of Python, more than for all of a scenario's calls.
 *
 * Lines in, from the driver; the numbers are hexadecimal:
 *     D NR ...				define a call: wire.c
 *     X				forget all calls and known outputs
 *     R NR GATE REGISTERS COMPETITION PLACEMENT MS STEP_MS CALL ... ; CALL ... ;	run a scenario: its number, 1 to stop
 *					before a guest-FPU load that is fatal by the last read-back, the registers that calls
 *					are made with (live.c), which task competes for the CPU (competitor.c), whether calls
 *					move between CPUs (moves.c), deadlines of the scenario and of each step (noticed after
 *					at most twice that time), calls; ";" ends a step
 *     B (like R)			run a scenario whose process waits behind the last step: branch.c
 *     anything else			a request to the worker, which answers it
 * Lines to the worker: such a request; "overrun KIND PID NR MS" if a deadline was missed, then "ended".  The worker writes a
 * newline when it has done its part.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "session.h"

enum { REAP_MS = 10000, MISSED_ALARM_US = 50000 };

struct request {
	long number;
	int gate, registers, competition, placement, waits;
	long deadline_ms, step_ms;
	size_t steps, count;
};

static struct session session = {
	.descriptor_names = { .kind = "descriptor", .most = MOST_DESCRIPTORS },
	.capture_names = { .kind = "captured output", .most = MOST_CAPTURES },
	.memory_names = { .kind = "memory", .most = MOST_MEMORIES },
	.task_names = { .kind = "task", .most = MOST_TASKS },
};
/* The worker's ends of two pipes. */
static int to_worker, from_worker;
static const struct kvmprobe_call *defined[MOST_CALLS];
/* Those of the scenario that runs, with a NULL after each step. */
static const struct kvmprobe_call *calls[MOST_ADDRESSES];

static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(KVMPROBE_BROKEN);
}

static void tell_worker(const char *line)
{
	if (!write_whole(to_worker, line, strlen(line)))
		_exit(KVMPROBE_BROKEN);
}

static void await_worker(void)
{
	char newline;

	if (!read_whole(from_worker, &newline, 1))
		_exit(KVMPROBE_BROKEN);
}

static void on_alarm(int number)
{
	(void)number;
}

static void set_alarm(long milliseconds)
{
	struct itimerval timer = {
		.it_value = { milliseconds / 1000, milliseconds % 1000 * 1000 },
		/* One that arrives just before waitpid() is missed. */
		.it_interval = { 0, milliseconds ? MISSED_ALARM_US : 0 },
	};

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Waits for a scenario's process, up to its deadlines; returns the name of the one that was missed, or NULL. */
static const char *await(const struct request *request, pid_t pid, int *status)
{
	const char *overrun = NULL;
	long left = request->deadline_ms;

	do {
		long wait = left < request->step_ms ? left : request->step_ms;
		int begun = begun_steps();

		set_alarm(wait);
		if (waitpid(pid, status, 0) == pid)
			break;
		left -= wait;
		overrun = left <= 0 ? "scenario" : begun == begun_steps() ? "step" : NULL;
	} while (!overrun);
	set_alarm(0);
	return overrun;
}

/* Waits for the scenario's tasks, which its end has killed and which are now children of the zygote; returns 0 if they last. */
static int reap_tasks(void)
{
	pid_t pid = waitpid(-1, NULL, __WALL | WNOHANG);

	if (pid >= 0)
		set_alarm(REAP_MS);
	while (pid >= 0 && (pid = waitpid(-1, NULL, __WALL)) > 0)
		;
	set_alarm(0);
	return errno == ECHILD;
}

static void report_overrun(const struct request *request, const char *overrun, pid_t pid)
{
	char line[128];
	long deadline = strcmp(overrun, "step") == 0 ? request->step_ms : request->deadline_ms;

	snprintf(line, sizeof(line), "overrun %s %d %ld %ld\n", overrun, (int)pid, request->number, deadline);
	tell_worker(line);
}

static void report_broken(long number)
{
	int begun = begun_steps();

	line_raw("{\"broken\":");
	line_number(number);
	line_raw(",\"traceback\":\"step ");
	line_number(begun ? begun - 1 : 0);
	line_raw(": ");
	line_text(broken_because());
	line_raw("\"}");
	line_send(&session.channels);
}

static long read_taint(void)
{
	char text[64] = "";

	return pread(session.channels.taint_fd, text, sizeof(text) - 1, 0) > 0 ? atol(text) : -1;
}

static long microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Messages that the kernel logs while it destroys a VM belong to that VM's scenario. */
static void report_end(long number, int status, long started)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;

	line_raw("{\"end\":");
	line_number(number);
	if (WIFSIGNALED(status)) {
		line_raw(",\"status\":\"signal\",\"signal\":");
		line_number(WTERMSIG(status));
	} else {
		line_raw(code == KVMPROBE_DONE	  ? ",\"status\":\"done\",\"code\":"
			 : code == KVMPROBE_GATED ? ",\"status\":\"held\",\"code\":"
						  : ",\"status\":\"broken\",\"code\":");
		line_number(code);
	}
	line_raw(",\"microseconds\":");
	line_number(microseconds() - started);
	line_raw(",\"taint\":");
	line_number(read_taint());
	line_raw(",\"k\":");
	line_log(session.channels.log_fd);
	line_raw("}");
	if (!line_send(&session.channels))
		_exit(KVMPROBE_BROKEN);
}

/* Lets the emulator forget which blocks of the kernel were reached ('c'), or report them ('C'), if it watches them. */
static void control_emulator(char command)
{
	if (session.channels.port)
		kvmprobe_port_out(session.channels.port + 1, &command, 1);
}

static pid_t start(const struct request *request)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		die_with(parent);
		close(to_worker);
		close(from_worker);
		make_local(calls, request->count);
		session.gate = request->gate;
		if (request->registers || request->competition)
			share_changes();
		if (request->competition == KVMPROBE_PROCESS_COMPETES)
			start_competitor();
		if (request->placement == KVMPROBE_MOVES)
			move_between_cpus();
		use_registers(request->registers);
		if (request->waits)
			_exit(run_branch(&session, request->number, calls, request->steps));
		_exit(run_scenario(&session, request->number, calls, 0, request->steps));
	}
	if (pid < 0)
		cannot_run("fork() for a scenario: %s", strerror(errno));
	return pid;
}

static void run(const struct request *request)
{
	long started = microseconds();
	const char *overrun;
	int status = 0;
	pid_t pid;

	clear_report();
	control_emulator('c');
	pid = start(request);
	overrun = await(request, pid, &status);
	if (overrun) {
		report_overrun(request, overrun, pid);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	if (!reap_tasks() && !overrun) {
		overrun = "scenario";
		report_overrun(request, overrun, getpid());
	}
	while (overrun && (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR))
		;
	control_emulator('C');
	if (overrun) {
		/* The worker reports the end, with a description of the tasks. */
		tell_worker("ended\n");
		await_worker();
		return;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == KVMPROBE_BROKEN)
		report_broken(request->number);
	report_end(request->number, status, started);
}

static void define(const char *line)
{
	const struct kvmprobe_call *call = read_call(line);

	if (call->number >= MOST_CALLS)
		cannot_run("there can be no call %u", call->number);
	defined[call->number] = call;
}

/* Reads the calls of some steps, with a NULL after each step; returns the number of steps. */
size_t read_steps(const char *line, const struct kvmprobe_call **read, size_t *count)
{
	size_t steps = 0;

	for (*count = 0; *line; ++*count) {
		if (*count == MOST_ADDRESSES)
			cannot_run("a scenario has more than %d calls", MOST_ADDRESSES);
		if (*line == ';') {
			line += line[1] == ' ' ? 2 : 1;
			read[*count] = NULL;
			steps++;
		} else {
			size_t number = read_number(&line);

			if (number >= MOST_CALLS || !defined[number])
				cannot_run("there is no call %zu", number);
			read[*count] = defined[number];
		}
	}
	return steps;
}

static void run_line(const char *line, int waits)
{
	struct request request = { .number = (long)read_number(&line), .waits = waits };

	request.gate = (int)read_number(&line);
	request.registers = (int)read_number(&line);
	request.competition = (int)read_number(&line);
	request.placement = (int)read_number(&line);
	request.deadline_ms = (long)read_number(&line);
	request.step_ms = (long)read_number(&line);
	request.steps = read_steps(line, calls, &request.count);
	run(&request);
}

static void forget(void)
{
	memset(defined, 0, sizeof(defined));
	forget_outputs();
	empty_arena();
}

static void serve(void)
{
	char *line;

	while ((line = next_line(&session.channels))) {
		switch (*line) {
		case 'D':
			define(line + 2);
			break;
		case 'R':
		case 'B':
			run_line(line + 2, *line == 'B');
			break;
		case 'X':
			forget();
			break;
		default:
			tell_worker(line);
			tell_worker("\n");
			await_worker();
		}
	}
}

/* Arguments: device, I/O port or 0, descriptors of log and taint or -1, of the pipes to and from the worker, its process id. */
int main(int count, char **arguments)
{
	struct sigaction alarmed = { .sa_handler = on_alarm };

	if (count != 8)
		return KVMPROBE_BROKEN;
	session.channels = (struct channels){
		.device = arguments[1],
		.port = (uint16_t)atoi(arguments[2]),
		.log_fd = atoi(arguments[3]),
		.taint_fd = atoi(arguments[4]),
	};
	to_worker = atoi(arguments[5]);
	from_worker = atoi(arguments[6]);
	die_with(atoi(arguments[7]));
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGALRM, &alarmed, NULL);
	make_arena();
	share_known_outputs();
	share_report();
	report_own_faults();
	prepare_base64();
	/* The machine may be saved where it waits for its first line; a restored machine goes on here. */
	if (session.channels.port)
		port_save(session.channels.port + 1);
	serve();
	return 0;
}
