/* Another thread or process that makes calls in this one's stead, one at a time. */
struct task {
	int requests, answers;
};


/* What processes of their own write, and this one reads: at the same place in each. */
static uint8_t *shared;


static int shared_memory;


#include <fcntl.h>
#include <sys/mman.h>
static void map_shared(int fd, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd < 0 || memory == MAP_FAILED)
		cannot_run("no shared memory: %s", strerror(errno));
	shared = memory;
}


#include <fcntl.h>
#include <sys/mman.h>
static int shared_fd(size_t size)
{
	int fd = (int)syscall(SYS_memfd_create, "shared", 0);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		cannot_run("no shared memory: %s", strerror(errno));
	return fd;
}


static long call_of_task(int call);


/* Answers until the other end is closed. */
static void serve(int requests, int answers)
{
	long answer;
	int call;

	while (read(requests, &call, sizeof(call)) == sizeof(call)) {
		answer = call_of_task(call);
		if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
			return;
	}
}


static long ask(const struct task *task, int call)
{
	long answer;

	if (write(task->requests, &call, sizeof(call)) != sizeof(call)
	    || read(task->answers, &answer, sizeof(answer)) != sizeof(answer))
		give_up("a task does not answer");
	return answer;
}


#include <fcntl.h>
/* The pipes to a task, and its ends of them. */
static void make_pipes(struct task *task, int ends[2])
{
	int requests[2], answers[2];

	if (pipe2(requests, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0)
		cannot_run("no pipe: %s", strerror(errno));
	*task = (struct task){ requests[1], answers[0] };
	ends[0] = requests[0];
	ends[1] = answers[1];
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
/* Tasks end with this process. */
static void end_with(int parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(0);
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
	return pid < 0 ? -errno : 0;
}


#include <sched.h>
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
/* A thread group of its own in the same memory, with the same descriptors. */
static long spawn_shared_mm(struct task *task)
{
	enum { STACK = 1 << 16 };
	struct shared_mm_start *start = malloc(sizeof(*start));

	if (!start)
		return -ENOMEM;
	start->parent = getpid();
	make_pipes(task, start->ends);
	return clone(serve_in_shared_mm, new_memory(STACK) + STACK, CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, start) < 0
	       ? -errno : 0;
}


/* This program once more, by execve(2): a new image, which only serves. */
static long spawn_exec(struct task *task)
{
	char requests[16], answers[16], memory[16];
	char *const words[] = { "task", "--serve", requests, answers, memory, NULL };
	int ends[2], parent = getpid();
	pid_t pid;

	make_pipes(task, ends);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		end_with(parent);
		snprintf(requests, sizeof(requests), "%d", dup(ends[0]));
		snprintf(answers, sizeof(answers), "%d", dup(ends[1]));
		snprintf(memory, sizeof(memory), "%d", dup(shared_memory));
		execv("/proc/self/exe", words);
		_exit(CANNOT_RUN);
	}
	return pid < 0 ? -errno : 0;
}
