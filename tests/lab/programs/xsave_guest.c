/* XCR0, XFD and the XSAVE family in the ring 0 of a KVM guest, and what of it its host sees. */
#include "guest.h"
#include "tiles.h"

#define V1 "vol.1 "
#define TILES (TILECFG | TILEDATA)
#define CET_U (1ull << 11)
#define CET_S (1ull << 12)
#define MSR_PL3_SSP 0x6a7
#define EVERYTHING (X87 | SSE | AVX | AVX512 | PKRU | TILES)

static struct area area, image;
static struct tile_config config;
static u8 rows[16][64], seen[16][64];

static u64 trap_of_tilerelease(void)
{
	GUEST_TRY(TILERELEASE, "i"(0));
	return last_trap;
}

static u64 trap_of_vector_move(void)
{
	GUEST_TRY("vmovups (%1), %%ymm1", "r"(rows));
	return last_trap;
}

static u64 trap_of_wide_vector_move(void)
{
	GUEST_TRY("vmovups (%1), %%zmm1", "r"(rows));
	return last_trap;
}

static u64 trap_of_area(int store, u64 components)
{
	if (store)
		GUEST_TRY("xsave64 (%1)", "r"(&area), "a"((u32)components), "d"(0));
	else
		GUEST_TRY("xrstor64 (%1)", "r"(&image), "a"((u32)components), "d"(0));
	return last_trap;
}

static void enabling(void)
{
	write_cr4(read_cr4() & ~CR4_OSXSAVE);
	check("no-osxsave-in-cpuid", V1 "13.3", 0, ECX_OF(1, 0) >> 27 & 1);
	check("no-osxsave-tilerelease", V1 "13.3", UD, trap_of_tilerelease());
	check("no-osxsave-vector-move", V1 "13.3", UD, trap_of_vector_move());
	check("no-osxsave-xsave", V1 "13.3", UD, trap_of_area(1, X87));
	GUEST_TRY("xgetbv", "c"(0));
	check("no-osxsave-xgetbv", "vol.2 XGETBV", UD, last_trap);
	GUEST_TRY("xsetbv", "a"(1), "d"(0), "c"(0));
	check("no-osxsave-xsetbv", "vol.2 XSETBV", UD, last_trap);

	write_cr4(read_cr4() | CR4_OSXSAVE);
	check("osxsave-in-cpuid", V1 "13.3", 1, ECX_OF(1, 0) >> 27 & 1);
	check("xcr0-after-reset", V1 "13.3", X87, xgetbv(0));
	check("xcr0-1-size", V1 "13.2", 576, EBX_OF(0xd, 0));
	check("xcr0-1-tilerelease", V1 "13.3", UD, trap_of_tilerelease());
	check("xcr0-1-vector-move", V1 "13.3", UD, trap_of_vector_move());
	check("xcr0-0", "vol.2 XSETBV", GP, xsetbv(0, 0));
	check("xcr0-without-x87", "vol.2 XSETBV", GP, xsetbv(0, SSE));
	check("xcr0-avx-without-sse", "vol.2 XSETBV", GP, xsetbv(0, X87 | AVX));
	check("xcr0-avx512-without-avx", "vol.2 XSETBV", GP, xsetbv(0, X87 | SSE | AVX512));
	check("xcr0-half-of-avx512", "vol.2 XSETBV", GP, xsetbv(0, X87 | SSE | AVX | OPMASK | ZMM_HI256));
	check("xcr0-tilecfg-alone", "vol.2 XSETBV", GP, xsetbv(0, X87 | TILECFG));
	check("xcr0-tiledata-alone", "vol.2 XSETBV", GP, xsetbv(0, X87 | TILEDATA));
	check("xcr0-supervisor-component", "vol.2 XSETBV", GP, xsetbv(0, X87 | 1ull << 8));
	check("xcr0-bit-63", "vol.2 XSETBV", GP, xsetbv(0, X87 | 1ull << 63));
	check("xcr1", "vol.2 XSETBV", GP, xsetbv(1, X87));
	check("illegal-xsetbv-changes-nothing", "vol.2 XSETBV", X87, xgetbv(0));

	check("xcr0-7", "vol.2 XSETBV", (u64)NO_TRAP, xsetbv(0, 7));
	check("xcr0-7-size", V1 "13.2", 832, EBX_OF(0xd, 0));
	check("xcr0-7-compacted-size", V1 "13.2", 832, EBX_OF(0xd, 1));
	check("xcr0-7-tilerelease", V1 "13.3", UD, trap_of_tilerelease());
	check("xcr0-7-vector-move", V1 "13.3", (u64)NO_TRAP, trap_of_vector_move());
	check("xcr0-7-wide-vector-move", V1 "13.3", UD, trap_of_wide_vector_move());
	check("xcr0-tiles-without-avx", "vol.2 XSETBV", (u64)NO_TRAP, xsetbv(0, X87 | TILES));
	check("xcr0-tiles-compacted-size", V1 "13.2", 576 + 64 + 8192, EBX_OF(0xd, 1));
	check("xcr0-everything", "vol.2 XSETBV", (u64)NO_TRAP, xsetbv(0, EVERYTHING));
	check("xcr0-everything-size", V1 "13.2", standard_offset(18) + 8192, EBX_OF(0xd, 0));
	check("xcr0-everything-compacted-size", V1 "13.2", compacted_end(EVERYTHING), EBX_OF(0xd, 1));
	check("xcr0-everything-tilerelease", V1 "13.3", (u64)NO_TRAP, trap_of_tilerelease());
}

static u64 xfd_err_after_trap(void)
{
	u64 cause = last_trap == NM ? rdmsr(MSR_XFD_ERR) : ~0ull;

	wrmsr(MSR_XFD_ERR, 0);
	return cause;
}

static void disabling(void)
{
	configure_all(&config);
	check("xfd-after-reset", V1 "13.14", 0, rdmsr(MSR_XFD));
	check("xfd-of-tilecfg", V1 "13.14", GP, wrmsr(MSR_XFD, TILECFG));
	check("xfd-of-avx", V1 "13.14", GP, wrmsr(MSR_XFD, AVX));
	check("xfd-err-of-tilecfg", V1 "13.14", GP, wrmsr(MSR_XFD_ERR, TILECFG));
	check("xfd-of-tiledata", V1 "13.14", (u64)NO_TRAP, wrmsr(MSR_XFD, TILEDATA));
	check("xfd-reads-back", V1 "13.14", TILEDATA, rdmsr(MSR_XFD));

	GUEST_TRY(LDTILECFG_RDI, "D"(&config));
	check("armed-ldtilecfg", V1 "13.14", (u64)NO_TRAP, last_trap);
	GUEST_TRY(STTILECFG_RDI, "D"(&config));
	check("armed-sttilecfg", V1 "13.14", (u64)NO_TRAP, last_trap);
	GUEST_TRY(TILELOADD0_RDI_RSI, "D"(rows), "S"(64ull));
	u64 ts = read_cr0() & CR0_TS;
	check("armed-tileloadd", V1 "13.14", NM, last_trap);
	check("armed-tileloadd-leaves-cr0-ts", V1 "13.14", 0, ts);
	check("armed-tileloadd-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	GUEST_TRY(TILEZERO0, "i"(0));
	check("armed-tilezero-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	GUEST_TRY(TILESTORED0_RDI_RSI, "D"(seen), "S"(64ull));
	check("armed-tilestored-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	GUEST_TRY(TDPBSSD_0_1_2, "i"(0));
	check("armed-tdpbssd-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	check("armed-tilerelease", V1 "13.14", (u64)NO_TRAP, trap_of_tilerelease());
	check("xfd-err-stays-0", V1 "13.14", 0, rdmsr(MSR_XFD_ERR));

	xsetbv(0, 7);
	GUEST_TRY(TILEZERO0, "i"(0));
	check("armed-without-xcr0", V1 "13.14", UD, last_trap);
	xsetbv(0, EVERYTHING);
	wrmsr(MSR_XFD, 0);
	ldtilecfg(&config);
	GUEST_TRY(TILELOADD0_RDI_RSI, "D"(rows), "S"(64ull));
	check("disarmed-tileloadd", V1 "13.14", (u64)NO_TRAP, last_trap);
	tilerelease();
}

/* Tiles are loaded, then disabled, then saved; returns what was written of their bytes: 0, 1 or else. */
static int saved_while_armed(void (*save)(void *, u64), int offset)
{
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	fill(&area, PATTERN, sizeof area);
	fill(&area.xstate_bv, 0, 64);
	wrmsr(MSR_XFD, TILEDATA);
	save(&area, TILES);
	wrmsr(MSR_XFD, 0);
	tilerelease();
	if (all_are((u8 *)&area + offset, PATTERN, 8192))
		return 1;
	return all_are((u8 *)&area + offset, 0, 8192) ? 0 : 2;
}

static void saving_while_armed(void)
{
	int written = saved_while_armed(xsave, standard_offset(18));

	check("armed-xsave-bv", V1 "13.14", TILECFG, area.xstate_bv);
	check("armed-xsave-writes-initial-tiles", V1 "13.14", 0, written);
	written = saved_while_armed(xsaveopt, standard_offset(18));
	check("armed-xsaveopt-bv", V1 "13.14", TILECFG, area.xstate_bv);
	check("armed-xsaveopt-writes-no-tiles", V1 "13.14", 1, written);
	written = saved_while_armed(xsavec, 640);
	check("armed-xsavec-bv", V1 "13.14", TILECFG, area.xstate_bv);
	check("armed-xsavec-xcomp-bv", V1 "13.14", TILES | COMPACT, area.xcomp_bv);
	check("armed-xsavec-writes-no-tiles", V1 "13.14", 1, written);
	written = saved_while_armed(xsaves, 640);
	check("armed-xsaves-bv", V1 "13.14", TILECFG, area.xstate_bv);
	check("armed-xsaves-xcomp-bv", V1 "13.14", TILES | COMPACT, area.xcomp_bv);
	check("armed-xsaves-writes-no-tiles", V1 "13.14", 1, written);
}

/* LDTILECFG and TILERELEASE initialise TILEDATA, disabled or not. */
static void releasing_while_armed(void)
{
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	wrmsr(MSR_XFD, TILEDATA);
	ldtilecfg(&config);
	wrmsr(MSR_XFD, 0);
	u64 configured = xgetbv(1) & TILES;
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	wrmsr(MSR_XFD, TILEDATA);
	tilerelease();
	wrmsr(MSR_XFD, 0);
	check("armed-ldtilecfg-initialises-tiledata", V1 "13.14", TILECFG, configured);
	check("armed-tilerelease-initialises", V1 "13.14", 0, xgetbv(1) & TILES);
}

static void prepare_image(u64 xstate_bv, u64 xcomp_bv)
{
	fill(&image, 0, sizeof image);
	image.fcw = 0x27f;
	image.mxcsr = 0x1fa0;
	image.xstate_bv = xstate_bv;
	image.xcomp_bv = xcomp_bv;
}

/* Whether x87 and SSE are as a fault must leave them: initial, as another image made them before. */
static int nothing_was_loaded(void)
{
	fill(&area, PATTERN, sizeof area);
	xsave(&area, X87 | SSE | TILES);
	return area.fcw == 0x37f && area.mxcsr == 0x1f80 && !(area.xstate_bv & TILES);
}

static void initialise(void)
{
	static struct area zero;

	zero.fcw = 0x37f;
	zero.mxcsr = 0x1f80;
	wrmsr(MSR_XFD, 0);
	xrstor(&zero, EVERYTHING);
	wrmsr(MSR_XFD, TILEDATA);
}

static void restoring_while_armed(void)
{
	initialise();
	prepare_image(X87 | SSE | TILEDATA, 0);
	check("armed-xrstor", V1 "13.14", NM, trap_of_area(0, EVERYTHING));
	u64 ts = read_cr0() & CR0_TS;
	check("armed-xrstor-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	check("armed-xrstor-leaves-cr0-ts", V1 "13.14", 0, ts);
	check("armed-xrstor-loads-nothing", V1 "13.14", 1, nothing_was_loaded());
	check("armed-xrstor-not-asked-for-tiledata", V1 "13.14", (u64)NO_TRAP, trap_of_area(0, X87 | SSE));
	initialise();
	prepare_image(X87 | SSE, 0);
	check("armed-xrstor-initialising-tiledata", V1 "13.14", (u64)NO_TRAP, trap_of_area(0, EVERYTHING));
	check("armed-xrstor-initialising-loads-the-rest", V1 "13.14", 0, nothing_was_loaded());

	initialise();
	prepare_image(X87 | SSE | TILEDATA, X87 | SSE | TILES | COMPACT);
	check("armed-compacted-xrstor", V1 "13.14", NM, trap_of_area(0, EVERYTHING));
	check("armed-compacted-xrstor-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	GUEST_TRY("xrstors64 (%1)", "r"(&image), "a"((u32)EVERYTHING), "d"(0));
	check("armed-xrstors", V1 "13.14", NM, last_trap);
	check("armed-xrstors-xfd-err", V1 "13.14", TILEDATA, xfd_err_after_trap());
	check("armed-xrstors-loads-nothing", V1 "13.14", 1, nothing_was_loaded());
	image.xstate_bv = X87 | SSE;
	GUEST_TRY("xrstors64 (%1)", "r"(&image), "a"((u32)EVERYTHING), "d"(0));
	check("armed-xrstors-initialising-tiledata", V1 "13.14", (u64)NO_TRAP, last_trap);
	initialise();
	wrmsr(MSR_XFD, 0);
}

static void supervisor_instructions(void)
{
	u64 offered = ECX_OF(0xd, 1), bv, comp, ssp = 0;

	check("xss-of-an-unknown-component", V1 "13.3", GP, wrmsr(MSR_XSS, 1ull << 62));
	check("xss-of-a-user-component", V1 "13.3", GP, wrmsr(MSR_XSS, AVX));
	check("xss-of-all-that-is-offered", V1 "13.3", (u64)NO_TRAP, wrmsr(MSR_XSS, offered));
	check("compacted-size-with-xss", V1 "13.2", compacted_end(EVERYTHING | offered), EBX_OF(0xd, 1));
	check("standard-size-with-xss", V1 "13.2", standard_offset(18) + 8192, EBX_OF(0xd, 0));

	if (offered & CET_U)
		wrmsr(MSR_PL3_SSP, 0x12345678);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	fill(&area, PATTERN, sizeof area);
	fill(&area.xstate_bv, 0, 64);
	xsaves(&area, TILES | offered);
	bv = area.xstate_bv;
	comp = area.xcomp_bv;
	tilerelease();
	if (offered & CET_U)
		wrmsr(MSR_PL3_SSP, 0);
	check("xsaves-xstate-bv", V1 "13.11", TILES | (offered & CET_U), bv);
	check("xsaves-xcomp-bv", V1 "13.11", TILES | offered | COMPACT, comp);
	check("xsaves-tiles-at-compacted-offset", V1 "13.11", 1,
	      same((u8 *)&area + compacted_offset(TILES | offered, 18), rows, 1024));
	xrstors(&area, TILES | offered);
	fill(seen, 0, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	if (offered & CET_U)
		ssp = rdmsr(MSR_PL3_SSP);
	check("xrstors-loads-tiles", V1 "13.12", 1, same(seen, rows, 1024));
	check("xrstors-loads-supervisor-state", V1 "13.12", offered & CET_U ? 0x12345678 : 0, ssp);

	area.xcomp_bv &= ~COMPACT;
	GUEST_TRY("xrstors64 (%1)", "r"(&area), "a"((u32)TILES), "d"(0));
	check("xrstors-of-standard-format", V1 "13.12", GP, last_trap);
	area.xcomp_bv = COMPACT | TILES | 1ull << 62;
	GUEST_TRY("xrstors64 (%1)", "r"(&area), "a"((u32)TILES), "d"(0));
	check("xrstors-xcomp-bv-outside-xcr0-and-xss", V1 "13.12", GP, last_trap);
	prepare_image(0, COMPACT | TILES | offered);
	xrstors(&image, TILES | offered);
	if (offered & CET_U)
		ssp = rdmsr(MSR_PL3_SSP);
	check("xrstors-initialises-supervisor-state", V1 "13.12", 0, ssp);
	check("xrstors-initialises-tiles", V1 "13.12", 0, xgetbv(1) & TILES);
	wrmsr(MSR_XSS, 0);
}

static void task_switched(void)
{
	write_cr0(read_cr0() | CR0_TS);
	u64 saving = trap_of_area(1, X87), restoring = trap_of_area(0, X87), cause = rdmsr(MSR_XFD_ERR);
	asm volatile("clts");
	check("xsave-with-cr0-ts", "vol.2 XSAVE", NM, saving);
	check("xrstor-with-cr0-ts", "vol.2 XRSTOR", NM, restoring);
	check("cr0-ts-is-not-xfd", V1 "13.14", 0, cause);
}

static void protection_keys(void)
{
	GUEST_TRY("wrpkru", "a"(0), "c"(0), "d"(0));
	check("wrpkru-without-cr4-pke", "vol.2 WRPKRU", UD, last_trap);
	write_cr4(read_cr4() | CR4_PKE);
	GUEST_TRY("wrpkru", "a"(~0u), "c"(0), "d"(0));
	check("wrpkru-with-cr4-pke", "vol.2 WRPKRU", (u64)NO_TRAP, last_trap);
	/* Still here: PKRU says nothing about supervisor pages.  The host gets its own back at the exit. */
	check("pkru-spares-supervisor-pages", "vol.3 4.6.2", PKRU, xgetbv(1) & PKRU);
}

static void guest(void)
{
	scatter(rows, 5, sizeof rows);
	enabling();
	disabling();
	saving_while_armed();
	releasing_while_armed();
	restoring_while_armed();
	supervisor_instructions();
	task_switched();
	protection_keys();
	/* Left behind for the host to read. */
	configure_all(&config);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
}

static void guest_again(void)
{
	fill(seen, 0, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	tilerelease();
	wrmsr(MSR_XFD, TILEDATA);
}

static void guest_armed(void)
{
	configure_all(&config);
	ldtilecfg(&config);
	GUEST_TRY(TILEZERO0, "i"(0));
	check("armed-over-an-exit", V1 "13.14", NM, last_trap);
	check("armed-over-an-exit-xfd-err", V1 "13.14", TILEDATA, rdmsr(MSR_XFD_ERR));
}

int main(void)
{
	static struct area state;

	make_guest();
	run_guest(guest);
	must(ioctl(vcpu, KVM_GET_XSAVE2, &state), "KVM_GET_XSAVE2");
	check("host-sees-tiles-in-use", V1 "13.6", TILES, state.xstate_bv & TILES);
	check("host-sees-their-bytes", V1 "13.5", 1, same((u8 *)&state + standard_offset(18), rows, 1024));
	check("host-sees-pkru", V1 "13.5.7", ~0u, *(u32 *)((u8 *)&state + standard_offset(9)));
	must(ioctl(vcpu, KVM_SET_XSAVE, &state), "KVM_SET_XSAVE");
	run_guest(guest_again);
	check("guest-sees-what-the-host-wrote", V1 "13.8", 1, same(seen, rows, 1024));
	check("host-sees-xfd", V1 "13.14", TILEDATA, guest_msr(MSR_XFD));
	run_guest(guest_armed);
	check("host-sees-xfd-err", V1 "13.14", TILEDATA, guest_msr(MSR_XFD_ERR));
	return print_results() != 0;
}
