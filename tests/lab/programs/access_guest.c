/* CR4.SMAP, EFLAGS.AC and protection keys in a KVM guest: which accesses of the supervisor to user pages are allowed. */
#include "guest.h"

#define ACCESS "vol.3 4.6.1"
#define KEYS "vol.3 4.6.2"
#define CR4_SMAP (1ull << 21)
#define FLAGS_AC (1ull << 18)
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_FMASK 0xc0000084
#define ERROR_WRITE 3	/* present, write */
#define ERROR_READ 1	/* present */
#define ERROR_KEY 0x20
#define DENY_ALL 1	/* of key 0, in PKRU */
#define DENY_WRITES 2
#define LENGTH 10000	/* more than two pages */

/* The whole program once more, 1 GiB higher, as user pages. */
#define ALIAS (1ull << 30)

static u64 user_directory[512] __attribute__((aligned(4096)));
static u8 source[LENGTH] __attribute__((aligned(4096))), target[LENGTH] __attribute__((aligned(4096)));

static u8 *user(void *address)
{
	u64 place = (u64)address + ALIAS;

	asm("" : "+r"(place)); /* the compiler is not to know that it is no object's */
	return (u8 *)place;
}

static void map_alias(void)
{
	for (u64 i = 0; i < 512; i++)
		user_directory[i] = i << 21 | 0x87;
	page_directories[1] = (u64)user_directory | 7;
	page_map[0] |= 4;
	write_cr3(read_cr3());
}

static void stac(void)
{
	asm volatile("stac" : : : "memory", "cc");
}

static void clac(void)
{
	asm volatile("clac" : : : "memory", "cc");
}

/* The error code of the page fault that an access raises, NO_TRAP if it raises none. */
static u64 outcome(void)
{
	return last_trap == PF ? last_error : last_trap;
}

static u64 read_of(void *address)
{
	GUEST_TRY("movb (%1), %%r11b", "r"(address));
	return outcome();
}

static u64 write_of(void *address)
{
	GUEST_TRY("movb $7, (%1)", "r"(address));
	return outcome();
}

/* rep movsb; returns how many bytes were left over. */
static u64 copied(void *to, void *from, u64 length)
{
	u64 left = length;

	last_trap = NO_TRAP;
	asm volatile("leaq 9f(%%rip), %%r11\n\tmovq %%r11, %0\n\trep movsb\n9:"
		     : "+m"(resume), "+D"(to), "+S"(from), "+c"(left) : : "r11", "memory");
	resume = 0;
	return left;
}

/* Ring 3 reads and writes a byte; its code is in the alias. */
__attribute__((noinline)) static void access_by_user(void *address)
{
	asm volatile("movq %%rsp, %%r15\n\t"
		     "leaq 1f(%%rip), %%rcx\n\taddq %1, %%rcx\n\tmovq $2, %%r11\n\tsysretq\n"
		     "1:\tmovb (%0), %%al\n\tmovb %%al, (%0)\n\tsyscall\n"
		     ".globl back_from_user\nback_from_user:\n\tmovq %%r15, %%rsp"
		     : : "D"(address), "r"(ALIAS) : "rax", "rcx", "r11", "r15", "memory", "cc");
}

static void prepare_user_mode(void)
{
	extern char back_from_user[];

	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	wrmsr(MSR_STAR, (u64)(DATA_SELECTOR - 8) << 48 | (u64)CODE_SELECTOR << 32);
	wrmsr(MSR_LSTAR, (u64)back_from_user);
	wrmsr(MSR_FMASK, FLAGS_AC);
}

static void without_smap(void)
{
	clac();
	check("no-smap-read", ACCESS, (u64)NO_TRAP, read_of(user(source)));
	check("no-smap-write", ACCESS, (u64)NO_TRAP, write_of(user(target)));
	check("no-smap-copy", ACCESS, 0, copied(user(target), source, LENGTH));
}

static void with_smap(void)
{
	write_cr4(read_cr4() | CR4_SMAP);
	check("smap-read-after-it-was-allowed", ACCESS, ERROR_READ, read_of(user(source)));
	check("smap-write-after-it-was-allowed", ACCESS, ERROR_WRITE, write_of(user(target)));
	check("smap-supervisor-page", ACCESS, (u64)NO_TRAP, write_of(target));
	stac();
	check("smap-ac-read", ACCESS, (u64)NO_TRAP, read_of(user(source)));
	check("smap-ac-write", ACCESS, (u64)NO_TRAP, write_of(user(target)));
	clac();
	check("smap-read-after-ac", ACCESS, ERROR_READ, read_of(user(source)));
	check("smap-write-after-ac", ACCESS, ERROR_WRITE, write_of(user(target)));
	asm volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(FLAGS_AC) : "memory", "cc");
	check("smap-ac-by-popf", ACCESS, (u64)NO_TRAP, read_of(user(source)));
	clac();
	write_cr4(read_cr4() & ~CR4_SMAP);
	check("no-smap-again", ACCESS, (u64)NO_TRAP, read_of(user(source)));
	write_cr4(read_cr4() | CR4_SMAP);
}

static void copies(void)
{
	for (int i = 0; i < LENGTH; i++) {
		source[i] = i * 7 + i / 256;
		target[i] = 0;
	}
	check("smap-copy-to-user", ACCESS, LENGTH, copied(user(target), source, LENGTH));
	check("smap-copy-to-user-error", ACCESS, ERROR_WRITE, outcome());
	check("smap-copy-from-user", ACCESS, LENGTH, copied(target, user(source), LENGTH));
	check("smap-copy-from-user-error", ACCESS, ERROR_READ, outcome());
	stac();
	check("smap-ac-copy-to-user", ACCESS, 0, copied(user(target), source, LENGTH));
	clac();
	check("smap-ac-copy-to-user-bytes", ACCESS, 1, same(target, source, LENGTH));
	fill(target, 0, LENGTH);
	stac();
	check("smap-ac-copy-from-user", ACCESS, 0, copied(target + 1, user(source) + 1, LENGTH - 1));
	clac();
	check("smap-ac-copy-from-user-bytes", ACCESS, 1, target[0] == 0 && same(target + 1, source + 1, LENGTH - 1));
	check("smap-copy-after-copies", ACCESS, LENGTH, copied(user(target), source, LENGTH));
}

static void user_mode(void)
{
	prepare_user_mode();
	access_by_user(user(target));
	check("user-mode-leaves-smap", ACCESS, ERROR_WRITE, write_of(user(target)));
	access_by_user(user(target));
	check("user-mode-leaves-smap-reads", ACCESS, ERROR_READ, read_of(user(target)));
	stac();
	access_by_user(user(target));
	check("syscall-clears-ac", "vol.2 SYSCALL", ERROR_READ, read_of(user(target)));
}

static void wrpkru(u32 value)
{
	asm volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static void keys(void)
{
	write_cr4(read_cr4() | CR4_PKE);
	stac();
	wrpkru(DENY_ALL);
	check("key-read", KEYS, ERROR_READ | ERROR_KEY, read_of(user(source)));
	check("key-write", KEYS, ERROR_WRITE | ERROR_KEY, write_of(user(target)));
	check("key-supervisor-page", KEYS, (u64)NO_TRAP, write_of(target));
	wrpkru(DENY_WRITES);
	check("key-read-of-read-only", KEYS, (u64)NO_TRAP, read_of(user(target)));
	check("key-write-of-read-only", KEYS, ERROR_WRITE | ERROR_KEY, write_of(user(target)));
	clac();
	check("key-read-without-ac", ACCESS, ERROR_READ, read_of(user(target)));
	wrpkru(0);
	check("no-key-without-ac", ACCESS, ERROR_WRITE, write_of(user(target)));
	stac();
	check("no-key-ac", KEYS, (u64)NO_TRAP, write_of(user(target)));
	clac();
	write_cr4(read_cr4() & ~CR4_PKE);
}

static void guest(void)
{
	map_alias();
	without_smap();
	with_smap();
	copies();
	user_mode();
	keys();
}

static void guest_again(void)
{
	check("smap-over-an-exit", ACCESS, ERROR_READ, read_of(user(source)));
	stac();
	asm volatile("outb %0, $0xf4" : : "a"((u8)0) : "memory");
	check("ac-over-an-exit", ACCESS, (u64)NO_TRAP, read_of(user(source)));
	clac();
	check("smap-after-an-exit", ACCESS, ERROR_READ, read_of(user(source)));
}

int main(void)
{
	make_guest();
	run_guest(guest);
	run_guest(guest_again);
	must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	return print_results() != 0;
}
