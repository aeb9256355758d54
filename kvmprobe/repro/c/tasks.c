static long ask(const struct task *task, int call)
{
	long answer;

	if (write(task->requests, &call, sizeof(call)) != sizeof(call) || !await_answer(task)
	    || read(task->answers, &answer, sizeof(answer)) != sizeof(answer))
		give_up("a task does not answer");
	return answer;
}


/* Starts this program again by execve(2); the new process only makes calls on request. */
static long spawn_exec(struct task *task)
{
	char requests[16], answers[16], memory[16];
	char *const arguments[] = { "task", "--serve", requests, answers, memory, NULL };
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
		execv("/proc/self/exe", arguments);
		_exit(CANNOT_RUN);
	}
	return begin_process(task, pid);
}
