/*
 * Starts the command: under a seccomp filter that stops it at KVM's ioctls other than KVM_RUN and at XCOMP arch_prctl calls, and
 * at nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../shared/fallbacks.h"
#include "tracing.h"

enum { CANNOT_EXEC = 127 };

struct failure {
	uint32_t step;
	int error;
};

static int errors[2];

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define IF(test, value, yes, no) BPF_JUMP(BPF_JMP | BPF_K | (test), value, yes, no)

/* Of kernels before 5.16, or with spec_store_bypass_disable=seccomp, a filter would also slow the program down, and its guest. */
enum { FILTER_FLAGS = SECCOMP_FILTER_FLAG_SPEC_ALLOW };

static int install_filter(void)
{
	/* The request and the code are 32 bits wide, the low half of the argument. */
	struct sock_filter code[] = {
		/* 0 */ LOAD(nr),
		/* 1 */ IF(BPF_JEQ, SYS_ioctl, 5, 0),
		/* 2 */ IF(BPF_JEQ, SYS_arch_prctl, 8, 0),
		/* 3 */ IF(BPF_JEQ, I386_IOCTL, 1, 0),
		/* 4 */ IF(BPF_JEQ, X32 | X32_IOCTL, 2, 9),
		/* 5 */ LOAD(arch),
		/* 6 */ IF(BPF_JEQ, AUDIT_ARCH_I386, 0, 7),
		/* 7 */ LOAD(args[1]),
		/* 8 */ IF(BPF_JEQ, KVM_RUN, 5, 0),
		/* 9 */ BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
		/* 10 */ IF(BPF_JEQ, KVMIO << 8, 4, 3),
		/* 11 */ LOAD(args[0]),
		/* 12 */ IF(BPF_JGE, ARCH_GET_XCOMP_SUPP, 0, 1),
		/* 13 */ IF(BPF_JGT, ARCH_REQ_XCOMP_GUEST_PERM, 0, 1),
		/* 14 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		/* 15 */ BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, FILTER_FLAGS, &program))
		return 0;
	/* Without CAP_SYS_ADMIN a program may only filter itself if it cannot gain privileges by exec. */
	if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return errno;
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, FILTER_FLAGS, &program) ? errno : 0;
}

static void fail(uint32_t step, int error)
{
	struct failure failure = { step, error };

	if (write(errors[1], &failure, sizeof(failure)) < 0)
		_exit(CANNOT_EXEC);
	_exit(CANNOT_EXEC);
}

static void become(char **command, const int *gate)
{
	char opened;
	int error;

	/* So that the read ends with the recorder. */
	close(gate[1]);
	if (read(gate[0], &opened, 1) != 1)
		_exit(CANNOT_EXEC);
	error = install_filter();
	if (error)
		fail(TRACE_NO_FILTER, error);
	execvp(command[0], command);
	fail(TRACE_NO_EXEC, errno);
}

/* The user's signals are for the command, and its standard streams are not kept open. */
void leave_terminal(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;

	setsid();
	for (fd = 0; fd < 3; fd++)
		dup2(null, fd);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

/* Reports why the command was not executed, if it was not. */
int exec_error(void)
{
	struct failure failure;

	if (read(errors[0], &failure, sizeof(failure)) != sizeof(failure))
		return 0;
	report(TRACE_FAILED, session.command, session.command, failure.step, failure.error);
	return 1;
}

void start(char **command)
{
	int gate[2], error;

	if (pipe2(gate, O_CLOEXEC) || pipe2(errors, O_CLOEXEC))
		abort();
	session.command = fork();
	if (!session.command)
		become(command, gate);
	close(errors[1]);
	leave_terminal();
	error = session.command < 0 ? errno : seize(session.command);
	if (error) {
		report(TRACE_FAILED, session.command, session.command, TRACE_NO_SEIZE, error);
		flush_events();
		exit(CANNOT_EXEC);
	}
	session.traced[0] = session.command;
	new_thread(session.command)->announced = 1;
	if (write(gate[1], "", 1) != 1)
		abort();
	close(gate[0]);
	close(gate[1]);
}
