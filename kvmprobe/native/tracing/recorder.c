/*
 * recorder EVENTS IMAGE_SIZE IMAGE_SIZE_PERMITTED RULES start COMMAND...
 * recorder EVENTS IMAGE_SIZE IMAGE_SIZE_PERMITTED RULES attach PID
 *
 * EVENTS is a descriptor of a pipe.  kvmprobe/tracer starts it.
 *
 * A call that the filter stops fails with ENOSYS once nobody traces the program.  The recorder is therefore a process that does not
 * depend on kvmprobe, and a second one, the guard, lets all calls pass if the recorder is killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracing.h"

enum { REMINDER_US = 20000, HURRY = -10 };

struct session session;

/* The signal may come just before waitpid(2) blocks: an alarm interrupts it again. */
static void on_request(int number)
{
	struct itimerval timer = { { 0, REMINDER_US }, { 0, REMINDER_US } };

	(void)number;
	session.stop_requested = 1;
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void on_alarm(int number)
{
	(void)number;
}

static void listen_for_requests(void)
{
	struct sigaction request = { .sa_handler = on_request }, alarm = { .sa_handler = on_alarm };

	sigaction(SIGTERM, &request, NULL);
	sigaction(SIGALRM, &alarm, NULL);
}

static int usage(void)
{
	fputs("the recorder is started by kvmprobe trace\n", stderr);
	return 2;
}

/* Goes on with the processes that a killed recorder has left. */
static void adopt(void)
{
	size_t i;

	session.recording = 0;
	session.command = session.traced[0];
	for (i = 0; i < TRACED_MOST; i++)
		if (session.traced[i])
			seize_all(session.traced[i]);
	follow_stops();
}

static int guard(pid_t recorder, int events)
{
	int status;
	pid_t pid;

	close(events);
	leave_terminal();
	signal(SIGTERM, SIG_IGN);
	/* Processes that lose their parent become children of the guard. */
	while ((pid = waitpid(-1, &status, 0)) != recorder)
		if (pid < 0)
			return 1;
	if (WIFEXITED(status)) {
		session.status = WEXITSTATUS(status);
	} else {
		adopt();
	}
	while (waitpid(-1, &status, WNOHANG) > 0)
		;
	return session.status;
}

/* A stopped thread waits for the recorder, so it goes first where it may. */
static void hurry(void)
{
	setpriority(PRIO_PROCESS, 0, HURRY);
}

static int record_command(char **command, int events)
{
	pid_t recorder;

	session.mode = STARTED;
	session.traced = mmap(NULL, TRACED_MOST * sizeof(pid_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (session.traced == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		return 1;
	recorder = fork();
	if (recorder < 0)
		return 1;
	if (recorder)
		return guard(recorder, events);
	start(command);
	hurry();
	listen_for_requests();
	follow_stops();
	end_recording();
	return session.status;
}

static int record_process(pid_t pid)
{
	session.mode = ATTACHED;
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	listen_for_requests();
	prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	attach(pid);
	hurry();
	follow_stops();
	end_recording();
	return 0;
}

int main(int count, char **words)
{
	int events;

	if (count < 7 || !read_rules(words[4]))
		return usage();
	events = atoi(words[1]);
	if (fcntl(events, F_SETFD, FD_CLOEXEC))
		return usage();
	open_events(events);
	session.recording = 1;
	session.image_size = atoi(words[2]);
	session.image_size_permitted = atoi(words[3]);
	if (!strcmp(words[5], "start"))
		return record_command(words + 6, events);
	return strcmp(words[5], "attach") ? usage() : record_process(atoi(words[6]));
}
