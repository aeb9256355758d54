/* Another thread or process that makes calls for this one, one for each request through a pipe. */
struct task {
	int pid;
	int process;  /* pidfd, or -1 for a thread */
	int requests, answers;
};


#include <fcntl.h>
/* Creates the pipes to and from a task; `ends` receives the task's ends. */
static void make_pipes(struct task *task, int ends[2])
{
	int requests[2], answers[2];

	if (pipe2(requests, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0)
		cannot_run("pipe2(2) for a task: %s", strerror(errno));
	*task = (struct task){ .process = -1, .requests = requests[1], .answers = answers[0] };
	ends[0] = requests[0];
	ends[1] = answers[1];
}


/* Stores the process that clone(2) or fork(2) returned; returns 0, or -errno. */
static long begin_process(struct task *task, int pid)
{
	if (pid < 0)
		return -errno;
	task->pid = pid;
	task->process = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}


#include <poll.h>
/* Waits until the task has begun to answer; returns 0 if it has ended instead. */
static int await_answer(const struct task *task)
{
	struct pollfd ready[] = { { .fd = task->answers, .events = POLLIN }, { .fd = task->process, .events = POLLIN } };

	while (poll(ready, 2, -1) < 0)
		;
	return ready[0].revents & POLLIN;
}


#include <pthread.h>
static void *serve_in_thread(void *ends)
{
	serve(((int *)ends)[0], ((int *)ends)[1]);
	return NULL;
}


#include <pthread.h>
static long spawn_thread(struct task *task)
{
	int *ends = malloc(2 * sizeof(*ends));
	pthread_t thread;

	if (!ends)
		return -ENOMEM;
	make_pipes(task, ends);
	return -pthread_create(&thread, NULL, serve_in_thread, ends);
}


#include <signal.h>
#include <sys/prctl.h>
/* Makes a task end when the process that created it ends. */
static void end_with(int parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
}


#include <signal.h>
#include <sys/wait.h>
/* Returns 0 in a child of this process, which waits for it and ends as it does; or -errno. */
static long go_on_in_child(void)
{
	int parent = getpid(), status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		end_with(parent);
		return 0;
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		kill(getpid(), WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}


static long spawn_fork(struct task *task)
{
	int ends[2], parent = getpid();
	pid_t pid;

	make_pipes(task, ends);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		end_with(parent);
		serve(ends[0], ends[1]);
		_exit(0);
	}
	return begin_process(task, pid);
}


struct shared_mm_start {
	int ends[2], parent;
};


static int serve_in_shared_mm(void *argument)
{
	const struct shared_mm_start *start = argument;

	end_with(start->parent);
	serve(start->ends[0], start->ends[1]);
	return 0;
}


#include <sched.h>
#include <signal.h>
/* Starts a separate thread group that shares the memory and the descriptors. */
static long spawn_shared_mm(struct task *task)
{
	enum { STACK = 1 << 16, FLAGS = CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD };
	struct shared_mm_start *start = malloc(sizeof(*start));

	if (!start)
		return -ENOMEM;
	start->parent = getpid();
	make_pipes(task, start->ends);
	return begin_process(task, clone(serve_in_shared_mm, new_memory(STACK) + STACK, FLAGS, start));
}
