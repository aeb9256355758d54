/* User space's way to run a check: faults are caught and told by number, state is kept over them. */
#ifndef USER_H
#define USER_H

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023

static int failures;
static u64 resume;		 /* where to go on after a fault */
static volatile int last_signal, last_code;
static volatile long last_trap;

void check(const char *name, const char *section, u64 expected, u64 observed)
{
	if (expected == observed) {
		printf("ok %s (SDM %s)\n", name, section);
	} else {
		printf("not ok %s (SDM %s): expected %#llx, observed %#llx\n", name, section, (unsigned long long)expected,
		       (unsigned long long)observed);
		failures++;
	}
	fflush(stdout);
}

/* A check that needs components which this processor, or its kernel, may not have. */
#define check_with(components, name, section, expected, observed) \
	do { \
		if (has(components)) \
			check(name, section, expected, observed); \
		else \
			skip(name, section, components); \
	} while (0)

static inline int has(u64 components)
{
	return (xgetbv(0) & components) == components;
}

static inline void skip(const char *name, const char *section, u64 components)
{
	printf("skip %s (SDM %s): XCR0 lacks %#llx\n", name, section, (unsigned long long)(components & ~xgetbv(0)));
	fflush(stdout);
}

/* Ends a program that can check nothing here. */
static inline void require(u64 components, u32 instructions)
{
	int osxsave = ECX_OF(1, 0) >> 27 & 1;

	if (osxsave && has(components) && (EAX_OF(0xd, 1) & instructions) == instructions)
		return;
	printf("skip all: needs XCR0 %#llx and CPUID.0DH.1:EAX %#x\n", (unsigned long long)components, instructions);
	exit(0);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;

	last_signal = number;
	last_code = info->si_code;
	last_trap = user->uc_mcontext.gregs[REG_TRAPNO];
	if (!resume)
		_exit(100 + number);
	/* The kernel restores all state from the frame, except where it goes on. */
	user->uc_mcontext.gregs[REG_RIP] = resume;
	resume = 0;
}

static void catch_faults(void)
{
	static u8 stack[1 << 16];
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof stack };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigaltstack(&alternative, NULL);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
}

/* Executes assembly that may fault and writes no register; last_signal is 0 if it did not, else last_trap is the exception. */
#define TRY(code, ...) \
	do { \
		last_signal = 0; \
		last_trap = NO_TRAP; \
		asm volatile("leaq 9f(%%rip), %%r11\n\tmovq %%r11, %0\n\t" code "\n9:" \
			     : "+m"(resume) : __VA_ARGS__ : "r11", "memory"); \
		resume = 0; \
	} while (0)

#define TRY_AREA(instruction, area, components) \
	TRY(instruction " (%1)", "r"(area), "a"((u32)(components)), "d"((u32)((u64)(components) >> 32)))

#endif
