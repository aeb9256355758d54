/*
 * A hypervisor in a KVM guest: VMXON, VMLAUNCH and VMRESUME of a guest of its own that executes CPUID, uses tiles,
 * meets XFD and calls back; once with its pages as they are, once through EPT.
 */
#include "guest.h"
#include "tiles.h"

#define V3 "vol.3 "
#define TILES (TILECFG | TILEDATA)
#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VMX_BASIC 0x480
#define MSR_VMX_CR0_FIXED0 0x486
#define MSR_VMX_CR4_FIXED0 0x488
#define MSR_VMX_SECONDARY 0x48b
#define MSR_VMX_TRUE_PIN 0x48d
#define MSR_VMX_TRUE_PRIMARY 0x48e
#define MSR_VMX_TRUE_EXIT 0x48f
#define MSR_VMX_TRUE_ENTRY 0x490

#define EXIT_EXCEPTION 0
#define EXIT_CPUID 10
#define EXIT_VMCALL 18
#define NM_INFORMATION (1ull << 31 | 3 << 8 | NM) /* valid, hardware exception, no error code */

enum field {
	GUEST_SELECTORS = 0x800, HOST_SELECTORS = 0xc00, EPT_POINTER = 0x201a, LINK_POINTER = 0x2800,
	PIN_CONTROLS = 0x4000, PRIMARY_CONTROLS = 0x4002, EXCEPTION_BITMAP = 0x4004, EXIT_CONTROLS = 0x400c,
	ENTRY_CONTROLS = 0x4012, SECONDARY_CONTROLS = 0x401e, INSTRUCTION_ERROR = 0x4400, EXIT_REASON = 0x4402,
	EXIT_INTERRUPTION = 0x4404, INSTRUCTION_LENGTH = 0x440c, GUEST_LIMITS = 0x4800, GUEST_GDTR_LIMIT = 0x4810,
	GUEST_IDTR_LIMIT = 0x4812, GUEST_RIGHTS = 0x4814, GUEST_CR0 = 0x6800, GUEST_CR3 = 0x6802, GUEST_CR4 = 0x6804,
	GUEST_TR_BASE = 0x6814, GUEST_GDTR_BASE = 0x6816, GUEST_IDTR_BASE = 0x6818, GUEST_DR7 = 0x681a, GUEST_RSP = 0x681c,
	GUEST_RIP = 0x681e, GUEST_RFLAGS = 0x6820, HOST_CR0 = 0x6c00, HOST_CR3 = 0x6c02, HOST_CR4 = 0x6c04,
	HOST_TR_BASE = 0x6c0a, HOST_GDTR_BASE = 0x6c0c, HOST_IDTR_BASE = 0x6c0e, HOST_RSP = 0x6c14, HOST_RIP = 0x6c16,
};

static u32 vmxon_region[1024] __attribute__((aligned(4096)));
static u32 control_structure[1024] __attribute__((aligned(4096)));
static u64 ept[3][512] __attribute__((aligned(4096)));
static u8 inner_stack[8192] __attribute__((aligned(16)));
static struct tile_config config;
static u8 rows[16][64], seen[16][64];
static volatile u64 answer, called_back;

/* Each returns nonzero if the instruction failed. */
#define VMX_ON_ADDRESS(name) \
	static int name(void *region) \
	{ \
		u64 address = (u64)region; \
		u8 failed; \
\
		asm volatile(#name " %1\n\tsetna %0" : "=rm"(failed) : "m"(address) : "cc", "memory"); \
		return failed; \
	}
VMX_ON_ADDRESS(vmxon)
VMX_ON_ADDRESS(vmclear)
VMX_ON_ADDRESS(vmptrld)

static int write_failed;

static void put(enum field field, u64 value)
{
	u8 failed;

	asm volatile("vmwrite %2, %1\n\tsetna %0" : "=rm"(failed) : "r"((u64)field), "r"(value) : "cc");
	write_failed |= failed;
}

static u64 get(enum field field)
{
	u64 value = 0;

	asm volatile("vmread %1, %0" : "=r"(value) : "r"((u64)field) : "cc");
	return value;
}

/* Enters the inner guest and comes back at its exit: 0; or 1 if the entry failed.  Its registers are ours to keep. */
static u64 inner_registers[15] __attribute__((used));
int enter_inner(int resumed);
#define EACH_REGISTER(move) \
	move(0, rbx) move(1, rcx) move(2, rdx) move(3, rsi) move(4, rdi) move(5, rbp) move(6, r8) move(7, r9) \
	move(8, r10) move(9, r11) move(10, r12) move(11, r13) move(12, r14) move(13, r15) move(14, rax)
#define LOAD(n, name) "movq inner_registers+8*" #n "(%rip), %" #name "\n\t"
#define STORE(n, name) "movq %" #name ", inner_registers+8*" #n "(%rip)\n\t"
asm(".text\nenter_inner:\n"
    "pushq %rbx\n\tpushq %rbp\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n"
    "movl $0x6c14, %eax\n\tvmwrite %rsp, %rax\n"
    "testl %edi, %edi\n" /* and no flag changes until the entry */
    EACH_REGISTER(LOAD)
    "jnz 1f\n\tvmlaunch\n\tjmp 2f\n"
    "1: vmresume\n"
    "2: movl $1, %eax\n\tjmp 3f\n"
    "inner_exit:\n"
    EACH_REGISTER(STORE)
    "xorl %eax, %eax\n"
    "3: popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbp\n\tpopq %rbx\n\tret\n");
extern char inner_exit[];

static void inner_guest(void)
{
	u32 leaf[4];

	for (;;) {
		cpuid(0, 0, leaf);
		answer = leaf[1];
		ldtilecfg(&config);
		asm volatile(TILEZERO0 : : : "memory"); /* XFD is armed: back once the outer one disarmed it */
		WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
		called_back++;
		asm volatile("vmcall" : : : "memory");
	}
}

static u64 allowed(u32 msr, u64 wanted)
{
	u64 limits = rdmsr(msr);

	return (wanted | (u32)limits) & limits >> 32;
}

static u16 task_register(void)
{
	u16 selector;

	asm volatile("str %0" : "=r"(selector));
	return selector;
}

static void describe_inner(int with_ept)
{
	static const u16 selectors[] = { DATA_SELECTOR, CODE_SELECTOR, DATA_SELECTOR, DATA_SELECTOR, DATA_SELECTOR,
					 DATA_SELECTOR };

	write_failed = 0;
	put(PIN_CONTROLS, allowed(MSR_VMX_TRUE_PIN, 0));
	put(PRIMARY_CONTROLS, allowed(MSR_VMX_TRUE_PRIMARY, with_ept ? 1u << 31 : 0));
	if (with_ept) {
		put(SECONDARY_CONTROLS, allowed(MSR_VMX_SECONDARY, 1 << 1));
		ept[0][0] = (u64)ept[1] | 7;
		ept[1][0] = (u64)ept[2] | 7;
		for (u64 i = 0; i < 512; i++)
			ept[2][i] = i << 21 | 0xb7; /* 2 MiB, write-back, all access */
		put(EPT_POINTER, (u64)ept[0] | 3 << 3 | 6);
	}
	put(EXIT_CONTROLS, allowed(MSR_VMX_TRUE_EXIT, 1 << 9));
	put(ENTRY_CONTROLS, allowed(MSR_VMX_TRUE_ENTRY, 1 << 9));
	put(EXCEPTION_BITMAP, 1 << NM);
	put(LINK_POINTER, ~0ull);
	for (int i = 0; i < 6; i++) {
		put(GUEST_SELECTORS + 2 * i, selectors[i]);
		put(HOST_SELECTORS + 2 * i, selectors[i]);
		put(GUEST_LIMITS + 2 * i, ~0u);
		put(GUEST_RIGHTS + 2 * i, i == 1 ? 0xa09b : 0xc093);
	}
	put(GUEST_SELECTORS + 12, 0); /* no LDT */
	put(GUEST_RIGHTS + 12, 0x10000);
	put(GUEST_SELECTORS + 14, task_register());
	put(HOST_SELECTORS + 12, task_register());
	put(GUEST_LIMITS + 14, sizeof task_state - 1);
	put(GUEST_RIGHTS + 14, 0x8b);
	put(GUEST_TR_BASE, (u64)task_state);
	put(HOST_TR_BASE, (u64)task_state);
	put(GUEST_GDTR_BASE, (u64)descriptors);
	put(HOST_GDTR_BASE, (u64)descriptors);
	put(GUEST_GDTR_LIMIT, sizeof descriptors - 1);
	put(GUEST_IDTR_BASE, (u64)interrupts);
	put(HOST_IDTR_BASE, (u64)interrupts);
	put(GUEST_IDTR_LIMIT, sizeof interrupts - 1);
	put(GUEST_CR0, read_cr0());
	put(HOST_CR0, read_cr0());
	put(GUEST_CR3, read_cr3());
	put(HOST_CR3, read_cr3());
	put(GUEST_CR4, read_cr4());
	put(HOST_CR4, read_cr4());
	put(GUEST_DR7, 0x400);
	put(GUEST_RFLAGS, 2);
	put(GUEST_RSP, (u64)inner_stack + sizeof inner_stack - 8);
	put(GUEST_RIP, (u64)inner_guest);
	put(HOST_RIP, (u64)inner_exit);
}

/* What one inner guest went through; the names of the checks differ by how its memory is translated. */
struct model_run {
	u64 described, launched, reason_cpuid, length_cpuid, reason_nm, information_nm, xfd_err, resumed, reason_vmcall,
		calls, answered, tiles, kept, relaunch_error;
};

static struct model_run run_inner(int with_ept)
{
	struct model_run model_run = { 0 };

	called_back = answer = 0;
	vmclear(control_structure);
	vmptrld(control_structure);
	describe_inner(with_ept);
	model_run.described = !write_failed;
	wrmsr(MSR_XFD, TILEDATA);
	model_run.launched = !enter_inner(0);
	model_run.reason_cpuid = get(EXIT_REASON);
	model_run.length_cpuid = get(INSTRUCTION_LENGTH);
	put(GUEST_RIP, get(GUEST_RIP) + get(INSTRUCTION_LENGTH));
	model_run.resumed = !enter_inner(1);
	model_run.reason_nm = get(EXIT_REASON);
	model_run.information_nm = get(EXIT_INTERRUPTION);
	model_run.xfd_err = rdmsr(MSR_XFD_ERR);
	wrmsr(MSR_XFD_ERR, 0);
	wrmsr(MSR_XFD, 0);
	enter_inner(1);
	model_run.reason_vmcall = get(EXIT_REASON);
	model_run.tiles = xgetbv(1) & TILES;
	fill(seen, 0, sizeof seen);
	GUEST_TRY(TILESTORED0_RDI_RSI, "D"(seen), "S"(64ull));
	model_run.kept = same(seen, rows, 1024);
	model_run.calls = called_back;
	model_run.answered = answer != 0xffffffff;
	model_run.relaunch_error = enter_inner(0) ? get(INSTRUCTION_ERROR) : 0;
	tilerelease();
	return model_run;
}

static void hypervisor(void)
{
	scatter(rows, 9, sizeof rows);
	configure_all(&config);
	write_cr4(read_cr4() | CR4_OSXSAVE);
	xsetbv(0, X87 | SSE | AVX | TILES);
	check("guest-has-vmx", V3 "24.6", 1, ECX_OF(1, 0) >> 5 & 1);
	check("vmx-is-unlocked", V3 "24.7", 5, rdmsr(MSR_FEATURE_CONTROL));
	GUEST_TRY("vmxoff", "i"(0));
	check("no-vmx-instruction-before-cr4-vmxe", V3 "24.7", UD, last_trap);
	write_cr0(read_cr0() | rdmsr(MSR_VMX_CR0_FIXED0));
	write_cr4(read_cr4() | rdmsr(MSR_VMX_CR4_FIXED0));
	vmxon_region[0] = control_structure[0] = rdmsr(MSR_VMX_BASIC) & 0x7fffffff;
	check("vmxon", V3 "24.7", 0, vmxon(vmxon_region));
	check("vmclear", V3 "25.11", 0, vmclear(control_structure));
	check("vmptrld", V3 "25.11", 0, vmptrld(control_structure));

	struct model_run plain = run_inner(0), mapped = run_inner(1);
	check("vmwrite", V3 "25.11", 1, plain.described);
	check("vmlaunch", V3 "27", 1, plain.launched);
	check("cpuid-exits", V3 "26.1.2", EXIT_CPUID, plain.reason_cpuid);
	check("cpuid-exit-length", V3 "28.2.5", 2, plain.length_cpuid);
	check("vmresume", V3 "27", 1, plain.resumed);
	check("nm-of-xfd-exits", V3 "26.2", EXIT_EXCEPTION, plain.reason_nm);
	check("nm-exit-information", V3 "28.2.2", NM_INFORMATION, plain.information_nm);
	check("nm-exit-xfd-err", "vol.1 13.14", TILEDATA, plain.xfd_err);
	check("vmcall-exits", V3 "26.1.2", EXIT_VMCALL, plain.reason_vmcall);
	check("inner-guest-ran-once", V3 "26.1.2", 1, plain.calls);
	check("inner-guest-used-tiles", "vol.1 13.6", TILES, plain.tiles);
	check("inner-tiles-outlive-the-exit", V3 "28.5", 1, plain.kept);
	check("vmlaunch-of-a-launched-one-fails", V3 "31.4", 4, plain.relaunch_error);
	check("ept-vmwrite", V3 "25.11", 1, mapped.described);
	check("ept-vmlaunch", V3 "27", 1, mapped.launched);
	check("ept-cpuid-exits", V3 "26.1.2", EXIT_CPUID, mapped.reason_cpuid);
	check("ept-vmresume", V3 "27", 1, mapped.resumed);
	check("ept-nm-of-xfd-exits", V3 "26.2", EXIT_EXCEPTION, mapped.reason_nm);
	check("ept-nm-exit-xfd-err", "vol.1 13.14", TILEDATA, mapped.xfd_err);
	check("ept-vmcall-exits", V3 "26.1.2", EXIT_VMCALL, mapped.reason_vmcall);
	check("ept-inner-tiles-outlive-the-exit", V3 "28.5", 1, mapped.kept);
	GUEST_TRY("vmxoff", "i"(0));
	check("vmxoff", V3 "24.7", (u64)NO_TRAP, last_trap);
}

int main(void)
{
	make_guest();
	set_guest_msr(MSR_FEATURE_CONTROL, 5);
	run_guest(hypervisor);
	return print_results() != 0;
}
