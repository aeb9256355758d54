/*
 * What others are shown of the registers of a VMM's thread: ptrace(2) with NT_X86_XSTATE between two calls and in KVM_RUN, and
 * the note of a core dump.  They are the thread's own; the guest's are in its fpstate.  What a debugger writes there is the
 * thread's, and the guest's state stays.
 *
 * With a file name as its argument, to which core_pattern(5) must lead, the program checks the core dump, and else ptrace(2).
 */
#include "spinning_guest.h"
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define REGSET "arch/x86/kernel/fpu/regset.c: xstateregs_get"
#define REGSET_SET "arch/x86/kernel/fpu/regset.c: xstateregs_set"
#define SWAP "arch/x86/kernel/fpu/core.c: fpu_swap_kvm_fpstate"
enum { GUEST = 7, BETWEEN = 20, RUNNING = 40, WRITTEN = 60 };

/* Of the VMM and of the process that looks at it. */
static struct shared {
	u8 between[AREA_SIZE] __attribute__((aligned(64)));
	u8 running[AREA_SIZE] __attribute__((aligned(64)));
	u8 after[AREA_SIZE] __attribute__((aligned(64)));
	volatile int go_on;
	int result, guest_kept;
} *shared;

/* A system call with these vector registers, which are stored as they are after it. */
static long call_with(const u8 *image, u8 *after, long number, long first, long second, long third)
{
	long result;

	asm volatile("mov $7, %%eax\n\txor %%edx, %%edx\n\txrstor64 (%[image])\n\t"
		     "mov %[number], %%rax\n\tmov %[third], %%rdx\n\tsyscall\n\tmov %%rax, %[result]\n\t"
		     "mov $7, %%eax\n\txor %%edx, %%edx\n\txsave64 (%[after])"
		     : [result] "=&r"(result)
		     : [image] "r"(image), [after] "r"(after), [number] "r"(number), "D"(first), "S"(second),
		       [third] "r"(third)
		     : "rax", "rdx", "rcx", "r11", "memory");
	return result;
}

/* The VMM: stops itself between two calls, then runs the guest until a signal, or an attached debugger, interrupts it. */
static void be_vmm(void)
{
	while (!shared->go_on)
		sched_yield();
	if (set_image(0, GUEST) < 0)
		fail("KVM_SET_XSAVE");
	call_with(shared->between, shared->after, SYS_tkill, getpid(), SIGSTOP, 0);
	shared->result = (int)call_with(shared->running, shared->after, SYS_ioctl, vcpus[0], KVM_RUN, 0);
	shared->guest_kept = has_image(0, GUEST);
	exit(0);
}

static pid_t start_vmm(void)
{
	pid_t pid;

	shared = (struct shared *)shared_memory(sizeof *shared);
	make_image(shared->between, BETWEEN);
	make_image(shared->running, RUNNING);
	make_guest_memory();
	pid = fork();
	if (pid == 0) {
		make_vm();
		be_vmm();
	}
	return pid;
}

static void await_stop(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status)) {
		fprintf(stderr, "the VMM did not stop: status %#x\n", status);
		exit(2);
	}
}

static struct iovec read_registers(pid_t pid)
{
	static u8 registers[AREA_SIZE] __attribute__((aligned(64)));
	struct iovec seen = { registers, sizeof registers };

	if (ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &seen) < 0)
		fail("PTRACE_GETREGSET");
	return seen;
}

static void go_on(pid_t pid)
{
	if (ptrace(PTRACE_CONT, pid, 0, 0) < 0)
		fail("PTRACE_CONT");
}

static void check_ptrace(void)
{
	static u8 written[AREA_SIZE] __attribute__((aligned(64)));
	pid_t pid;
	struct iovec seen;

	pid = start_vmm();
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
		fail("PTRACE_SEIZE");
	shared->go_on = 1;
	await_stop(pid);
	seen = read_registers(pid);
	expect("a-debugger-reads-the-threads-registers-between-calls", REGSET, 1, same_vectors(seen.iov_base, shared->between));
	go_on(pid);
	while (!guest_memory[FLAG])
		sched_yield();
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0)
		fail("PTRACE_INTERRUPT");
	await_stop(pid);
	seen = read_registers(pid);
	expect("a-debugger-reads-the-threads-registers-in-kvm-run", REGSET, 1, same_vectors(seen.iov_base, shared->running));
	make_image(written, WRITTEN);
	memcpy((u8 *)seen.iov_base + XMM_AT, written + XMM_AT, XMM_SIZE);
	memcpy((u8 *)seen.iov_base + YMM_AT, written + YMM_AT, XMM_SIZE);
	expect("a-debugger-may-write-them", REGSET_SET, 0, ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &seen));
	go_on(pid);
	waitpid(pid, NULL, 0);
	expect("the-interruption-ends-kvm-run", SWAP, -EINTR, shared->result);
	expect("the-thread-has-what-the-debugger-wrote", SWAP, 1, same_vectors(shared->after, written));
	expect("the-guest-keeps-its-state", SWAP, 1, shared->guest_kept);
}

/* Returns the content of the note of a core dump with this type, or NULL. */
static const u8 *find_note(const u8 *core, u32 type)
{
	const Elf64_Ehdr *header = (const Elf64_Ehdr *)core;
	const Elf64_Phdr *segment = (const Elf64_Phdr *)(core + header->e_phoff);

	for (int i = 0; i < header->e_phnum; i++, segment++) {
		const u8 *at = core + segment->p_offset, *end = at + segment->p_filesz;

		while (segment->p_type == PT_NOTE && at < end) {
			const Elf64_Nhdr *note = (const Elf64_Nhdr *)at;
			const u8 *content = at + sizeof *note + ((note->n_namesz + 3) & ~3u);

			if (note->n_type == type)
				return content;
			at = content + ((note->n_descsz + 3) & ~3u);
		}
	}
	return NULL;
}

static void check_core(const char *name)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status = 0, file;
	const u8 *core, *note;
	pid_t pid;

	setrlimit(RLIMIT_CORE, &unlimited);
	/* A shell ignores it in what it starts in the background. */
	signal(SIGQUIT, SIG_DFL);
	pid = start_vmm();
	shared->go_on = 1;
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGCONT);
	while (!guest_memory[FLAG])
		sched_yield();
	kill(pid, SIGQUIT);
	waitpid(pid, &status, 0);
	expect("a-signal-in-kvm-run-dumps-core", "fs/coredump.c: do_coredump", 1, WIFSIGNALED(status) && WCOREDUMP(status));
	file = open(name, O_RDONLY | O_CLOEXEC);
	core = mmap(NULL, (size_t)lseek(file, 0, SEEK_END), PROT_READ, MAP_PRIVATE, file, 0);
	if (core == MAP_FAILED)
		fail(name);
	note = find_note(core, NT_X86_XSTATE);
	expect("the-note-has-the-threads-registers", "fs/binfmt_elf.c: fill_thread_core_info", 1,
	       note && same_vectors(note, shared->running));
}

int main(int count, char **arguments)
{
	if (count > 1)
		check_core(arguments[1]);
	else
		check_ptrace();
	return failures != 0;
}
