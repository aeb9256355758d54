/*
 * The XSAVE feature set as user space sees it, without AMX: formats, headers, MXCSR, faults, PKRU, AVX-512.
 * It needs AVX-512, XSAVEOPT, XSAVEC, XGETBV with ECX=1 and XSAVES; what else a check needs stands with it.
 */
#include "user.h"

#define V1 "vol.1 "
#define SAVED saved_components()
#define ALL (X87 | SSE | AVX | AVX512 | PKRU | TILECFG | TILEDATA)

static struct area standard, compacted, image, scratch;
static u8 values[8][64];

static u64 saved_components(void)
{
	return X87 | SSE | AVX | AVX512 | (xgetbv(0) & PKRU);
}

static void set_mxcsr(u32 value)
{
	asm volatile("ldmxcsr %0" : : "m"(value));
}

static u32 get_mxcsr(void)
{
	u32 value;

	asm volatile("stmxcsr %0" : "=m"(value));
	return value;
}

/* Vol.1 11.6.6: as FXSAVE writes it. */
static u32 mxcsr_mask(void)
{
	static struct area legacy;

	asm volatile("fxsave64 (%0)" : : "r"(&legacy) : "memory");
	return legacy.mxcsr_mask;
}

static u32 rdpkru(void)
{
	u32 value = 0;

	if (has(PKRU))
		asm volatile("rdpkru" : "=a"(value) : "c"(0) : "rdx");
	return value;
}

static void wrpkru(u32 value)
{
	if (has(PKRU))
		asm volatile("wrpkru" : : "a"(value), "c"(0), "d"(0) : "memory");
}

static void initialise(u64 components)
{
	static struct area zero;

	zero.mxcsr = 0x1f80;
	xrstor(&zero, components);
}

/* Every component that user space has, but the tiles, away from its initial state. */
static void load_everything(void)
{
	initialise(X87 | SSE | AVX | AVX512);
	set_mxcsr(0x1fa0); /* one exception flag: not the initial value, and nothing faults */
	asm volatile("fninit\n\tfld1\n\t"
		     "vmovdqu64 %0, %%zmm3\n\tvmovdqu64 %1, %%zmm19\n\tkmovq %2, %%k3"
		     : : "m"(values[0]), "m"(values[1]), "m"(values[2]) : "memory");
}

static void fresh(struct area *area)
{
	fill(area, PATTERN, sizeof *area);
	fill(&area->xstate_bv, 0, 64);
}

static u8 *at(struct area *area, u32 offset)
{
	return (u8 *)area + offset;
}

static u32 standard_end(u64 components)
{
	u32 end = 576;

	for (int i = 2; i < 32; i++)
		if (components >> i & 1 && standard_offset(i) + component_size(i) > end)
			end = standard_offset(i) + component_size(i);
	return end;
}

static void enumeration(void)
{
	u64 xcr0 = xgetbv(0);
	u64 supported = EAX_OF(0xd, 0) | (u64)EDX_OF(0xd, 0) << 32;
	int last = 1;

	check("leaf1-osxsave", V1 "13.3", 1, ECX_OF(1, 0) >> 27 & 1);
	check_with(ALL, "xcr0-of-this-cpu", V1 "13.3", ALL, xcr0);
	check_with(TILEDATA, "instructions-of-the-xsave-family", V1 "13.2", 0x1f, EAX_OF(0xd, 1) & 0x1f);
	check("leaf-d-lists-xcr0", V1 "13.2", xcr0, EAX_OF(0xd, 0) & xcr0);
	for (int i = 2; i < 32; i++)
		if (xcr0 >> i & 1 && standard_offset(i) + component_size(i) == standard_end(xcr0))
			last = i;
	check("leaf-d-size-of-enabled-components", V1 "13.2", standard_end(xcr0), EBX_OF(0xd, 0));
	check("leaf-d-size-of-supported-components", V1 "13.2", standard_end(supported), ECX_OF(0xd, 0));
	check_with(TILEDATA, "last-component-is-tiledata", V1 "13.2", 18, last);
	check("avx-offset-is-the-architectural", V1 "13.4.3", 576, standard_offset(2));
	check("avx-size", V1 "13.5.3", 256, component_size(2));
	check("opmask-size", V1 "13.5.5", 64, component_size(5));
	check("zmm-hi256-size", V1 "13.5.5", 512, component_size(6));
	check("hi16-zmm-size", V1 "13.5.5", 1024, component_size(7));
	check_with(PKRU, "pkru-size", V1 "13.5.7", 8, component_size(9));
	check_with(TILECFG, "tilecfg-size", V1 "13.5", 64, component_size(17));
	check_with(TILEDATA, "tiledata-size", V1 "13.5", 8192, component_size(18));
	check_with(TILECFG, "tilecfg-is-aligned-in-compacted-format", V1 "13.2", 2, ECX_OF(0xd, 17) & 7);
	check_with(TILEDATA, "tiledata-is-aligned-and-has-xfd", V1 "13.2", 6, ECX_OF(0xd, 18) & 7);
}

static void standard_format(void)
{
	fresh(&standard);
	standard.xstate_bv = xgetbv(0) & TILECFG; /* a component that is not asked for */
	fill(&standard.header[0], PATTERN, 48);
	load_everything();
	wrpkru(0x30);
	xsave(&standard, SAVED);
	wrpkru(0);

	check_with(TILECFG, "xsave-keeps-bits-not-asked-for", V1 "13.7", TILECFG, standard.xstate_bv & ~SAVED);
	check("xsave-sets-bits-of-components-in-use", V1 "13.7", SAVED, standard.xstate_bv & SAVED);
	check("xsave-leaves-xcomp-bv", V1 "13.7", 0, standard.xcomp_bv);
	check("xsave-leaves-the-rest-of-the-header", V1 "13.7", 1, all_are(standard.header, PATTERN, 48));
	check("xsave-writes-fcw", V1 "13.5.1", 0x37f, standard.fcw);
	check("xsave-writes-the-abridged-tags", V1 "13.5.1", 0x80, standard.ftw);
	check("xsave-writes-st0", V1 "13.5.1", 0x3fff, standard.st[0][8] | standard.st[0][9] << 8);
	check("xsave-writes-mxcsr", V1 "13.5.2", 0x1fa0, standard.mxcsr);
	check("xsave-writes-mxcsr-mask", V1 "13.5.2", mxcsr_mask(), standard.mxcsr_mask);
	check("xsave-writes-xmm", V1 "13.5.2", 1, same(standard.xmm[3], values[0], 16));
	check("xsave-leaves-bytes-for-software", V1 "13.4.1", 1, all_are(standard.unused + 48, PATTERN, 48));
	check("xsave-writes-ymm-at-its-offset", V1 "13.5.3", 1,
	      same(at(&standard, standard_offset(2) + 3 * 16), values[0] + 16, 16));
	check("xsave-writes-opmask-at-its-offset", V1 "13.5.5", 1,
	      same(at(&standard, standard_offset(5) + 3 * 8), values[2], 8));
	check("xsave-writes-zmm-hi256-at-its-offset", V1 "13.5.5", 1,
	      same(at(&standard, standard_offset(6) + 3 * 32), values[0] + 32, 32));
	check("xsave-writes-hi16-zmm-at-its-offset", V1 "13.5.5", 1,
	      same(at(&standard, standard_offset(7) + 3 * 64), values[1], 64));
	check_with(PKRU, "xsave-writes-pkru-at-its-offset", V1 "13.5.7", 0x30, *at(&standard, standard_offset(9)));
}

static void standard_subsets(void)
{
	fresh(&scratch);
	load_everything();
	xsave(&scratch, X87);
	check("xsave-of-x87-leaves-mxcsr", V1 "13.7", PATTERN * 0x01010101u, scratch.mxcsr);
	check("xsave-of-x87-leaves-xmm", V1 "13.7", 1, all_are(scratch.xmm, PATTERN, sizeof scratch.xmm));

	fresh(&scratch);
	load_everything();
	xsave(&scratch, AVX);
	check("xsave-of-avx-writes-mxcsr", V1 "13.7", 0x1fa0, scratch.mxcsr);
	check("xsave-of-avx-leaves-x87", V1 "13.7", PATTERN << 8 | PATTERN, scratch.fcw);

	fresh(&scratch);
	scratch.xstate_bv = OPMASK;
	initialise(OPMASK);
	xsave(&scratch, OPMASK);
	check("xsave-clears-bit-of-initial-component", V1 "13.7", 0, scratch.xstate_bv);
	check("xsave-writes-initial-component", V1 "13.7", 1, all_are(at(&scratch, standard_offset(5)), 0, 64));

	fresh(&scratch);
	initialise(OPMASK);
	xsaveopt(&scratch, OPMASK);
	check("xsaveopt-leaves-initial-component", V1 "13.9", 1, all_are(at(&scratch, standard_offset(5)), PATTERN, 64));

	load_everything();
	initialise(SSE | AVX | AVX512);
	set_mxcsr(0x1fa0);
	fresh(&scratch);
	xsavec(&scratch, SSE);
	check("xsavec-saves-sse-for-mxcsr-alone", V1 "13.10", SSE, scratch.xstate_bv);
	check("xsavec-writes-mxcsr-then", V1 "13.10", 0x1fa0, scratch.mxcsr);
	set_mxcsr(0x1f80);
}

static void compacted_format(void)
{
	const u64 subset = SAVED & ~(AVX | ZMM_HI256);
	static const int upper[] = { 2, 5, 6, 7, 9 };
	int wrong = 0, wrong_subset = 0;

	fresh(&compacted);
	fill(&compacted.header[0], PATTERN, 48);
	fresh(&scratch);
	load_everything();
	wrpkru(0x30);
	xsavec(&compacted, SAVED);
	xsavec(&scratch, subset);
	wrpkru(0);
	for (size_t i = 0; i < sizeof upper / sizeof *upper; i++) {
		int n = upper[i];
		u8 *reference = at(&standard, standard_offset(n));

		if (!has(1ull << n))
			continue;
		if (!same(reference, at(&compacted, compacted_offset(SAVED, n)), component_size(n)))
			wrong |= 1 << n;
		if (subset >> n & 1 && !same(reference, at(&scratch, compacted_offset(subset, n)), component_size(n)))
			wrong_subset |= 1 << n;
	}
	check("xsavec-xstate-bv", V1 "13.10", SAVED, compacted.xstate_bv);
	check("xsavec-xcomp-bv", V1 "13.10", SAVED | COMPACT, compacted.xcomp_bv);
	check("xsavec-leaves-the-rest-of-the-header", V1 "13.10", 1, all_are(compacted.header, PATTERN, 48));
	fill(compacted.header, 0, 48); /* to be restored later */
	check("xsavec-legacy-region-is-as-of-xsave", V1 "13.10", 1, same(&standard, &compacted, 416));
	check("xsavec-components-at-compacted-offsets", V1 "13.4.3", 0, wrong);
	check("xsavec-of-a-subset-leaves-no-gaps", V1 "13.4.3", 0, wrong_subset);
	check("xsavec-writes-nothing-beyond", V1 "13.10", 1, all_are(at(&compacted, compacted_end(SAVED)), PATTERN, 512));

	initialise(ZMM_HI256);
	fresh(&scratch);
	asm volatile("vmovdqu64 %0, %%zmm19" : : "m"(values[1]));
	xsavec(&scratch, ZMM_HI256 | HI16_ZMM);
	check("xsavec-clears-bit-of-initial-component", V1 "13.10", HI16_ZMM, scratch.xstate_bv);
	check("xsavec-keeps-room-for-initial-component", V1 "13.4.3", 1, same(at(&scratch, 576 + 512 + 3 * 64), values[1], 64));
	check("xsavec-leaves-initial-component", V1 "13.10", 1, all_are(at(&scratch, 576), PATTERN, 512));
}

static void restoring(void)
{
	fresh(&image);
	image.mxcsr = 0x1f80;
	load_everything();
	wrpkru(0x30);
	xrstor(&image, SAVED);
	u32 pkru = rdpkru();
	u64 inuse = xgetbv(1);
	wrpkru(0);
	fresh(&scratch);
	xsave(&scratch, SAVED & ~PKRU);
	check("xrstor-initialises-what-xstate-bv-lacks", V1 "13.8", 0, scratch.xstate_bv);
	check("xrstor-initialises-x87", V1 "13.6", 0x37f, scratch.fcw | scratch.ftw << 16);
	check("xrstor-initialises-xmm", V1 "13.6", 1, all_are(scratch.xmm, 0, sizeof scratch.xmm));
	check("xrstor-initialises-ymm", V1 "13.6", 1, all_are(at(&scratch, standard_offset(2)), 0, 256));
	check("xrstor-initialises-hi16-zmm", V1 "13.6", 1, all_are(at(&scratch, standard_offset(7)), 0, 1024));
	check_with(PKRU, "xrstor-initialises-pkru", V1 "13.6", 0, pkru);
	check("initial-components-are-not-in-use", V1 "13.6", 0, inuse & (AVX | AVX512));

	load_everything();
	xrstor(&image, OPMASK);
	fresh(&scratch);
	xsave(&scratch, SAVED & ~PKRU);
	check("xrstor-leaves-what-rfbm-lacks", V1 "13.8", SAVED & ~(OPMASK | PKRU), scratch.xstate_bv);
	check("xrstor-leaves-zmm-then", V1 "13.8", 1, same(at(&scratch, standard_offset(7) + 192), values[1], 64));

	wrpkru(0);
	initialise(SAVED & ~PKRU);
	xrstor(&compacted, SAVED);
	pkru = rdpkru();
	fresh(&scratch);
	xsave(&scratch, SAVED);
	wrpkru(0);
	check("xrstor-of-a-compacted-image-loads-all", V1 "13.8.2", 1, same(&scratch.xmm, &standard.xmm, 256) &&
	      same(at(&scratch, 576), at(&standard, 576), standard_end(SAVED) - 576));
	check_with(PKRU, "xrstor-of-a-compacted-image-loads-pkru", V1 "13.8.2", 0x30, pkru);

	initialise(SAVED & ~PKRU);
	xrstor(&compacted, HI16_ZMM); /* behind components that are not asked for */
	fresh(&scratch);
	xsave(&scratch, SAVED & ~PKRU);
	check("xrstor-finds-its-place-behind-components-not-asked-for", V1 "13.8.2", 1,
	      same(at(&scratch, standard_offset(7)), at(&standard, standard_offset(7)), 1024));
	check("xrstor-loads-only-what-is-asked-for", V1 "13.8.2", HI16_ZMM, scratch.xstate_bv);
}

static u32 mxcsr_after(u64 xstate_bv, u64 xcomp_bv, u64 rfbm)
{
	initialise(SAVED & ~PKRU);
	set_mxcsr(0x1f81);
	fresh(&image);
	image.fcw = 0x37f;
	image.mxcsr = 0x1fa0;
	image.xstate_bv = xstate_bv;
	image.xcomp_bv = xcomp_bv;
	fill(at(&image, 576), 0, 4096);
	xrstor(&image, rfbm);
	u32 mxcsr = get_mxcsr();
	set_mxcsr(0x1f80);
	return mxcsr;
}

static void mxcsr_rules(void)
{
	check("standard-sse-in-bv-loads-mxcsr", V1 "13.8.1", 0x1fa0, mxcsr_after(SSE, 0, SSE));
	check("standard-sse-not-in-bv-loads-mxcsr", V1 "13.8.1", 0x1fa0, mxcsr_after(0, 0, SSE));
	check("standard-avx-alone-loads-mxcsr", V1 "13.8.1", 0x1fa0, mxcsr_after(0, 0, AVX));
	check("standard-x87-leaves-mxcsr", V1 "13.8.1", 0x1f81, mxcsr_after(SSE, 0, X87));
	check("standard-avx512-leaves-mxcsr", V1 "13.8.1", 0x1f81, mxcsr_after(0, 0, AVX512));
	check("compacted-sse-in-bv-loads-mxcsr", V1 "13.8.2", 0x1fa0, mxcsr_after(SSE, SSE | COMPACT, SSE));
	check("compacted-sse-not-in-bv-initialises-mxcsr", V1 "13.8.2", 0x1f80, mxcsr_after(0, SSE | COMPACT, SSE));
	check("compacted-avx-leaves-mxcsr", V1 "13.8.2", 0x1f81, mxcsr_after(AVX, AVX | COMPACT, AVX));
}

/* The exception that XRSTOR64 raises on an image with this header, all state zero. */
static int xrstor_trap(u64 xstate_bv, u64 xcomp_bv, int header_byte, u32 mxcsr, u64 rfbm)
{
	fresh(&image);
	fill(&image, 0, 512);
	fill(at(&image, 576), 0, 4096);
	image.fcw = 0x37f;
	image.mxcsr = mxcsr;
	image.xstate_bv = xstate_bv;
	image.xcomp_bv = xcomp_bv;
	if (header_byte)
		*at(&image, 512 + header_byte) = 1;
	TRY_AREA("xrstor64", &image, rfbm);
	int trap = last_signal ? last_trap : NO_TRAP;
	set_mxcsr(0x1f80);
	return trap;
}

static void restoring_faults(void)
{
	const u32 ok = 0x1f80, bad = 0x11f80;
	const u64 c = SSE | AVX | COMPACT;

	check("xrstor-of-a-good-image", V1 "13.8", (u64)NO_TRAP, xrstor_trap(SSE, 0, 0, ok, SAVED));
	check("standard-bv-outside-xcr0", V1 "13.8.1", GP, xrstor_trap(1ull << 8, 0, 0, ok, SSE));
	check("standard-bv-bit-63", V1 "13.8.1", GP, xrstor_trap(1ull << 63, 0, 0, ok, SSE));
	check("standard-xcomp-bv-not-zero", V1 "13.8.1", GP, xrstor_trap(0, SSE, 0, ok, SSE));
	check("standard-header-byte-16", V1 "13.8.1", GP, xrstor_trap(0, 0, 16, ok, SSE));
	check("standard-header-byte-23", V1 "13.8.1", GP, xrstor_trap(0, 0, 23, ok, SSE));
	check("standard-header-byte-24-is-ignored", V1 "13.8.1", (u64)NO_TRAP, xrstor_trap(0, 0, 24, ok, SSE));
	check("compacted-good", V1 "13.8.2", (u64)NO_TRAP, xrstor_trap(SSE, c, 0, ok, SAVED));
	check("compacted-xcomp-bv-outside-xcr0", V1 "13.8.2", GP, xrstor_trap(0, c | 1ull << 8, 0, ok, SSE));
	check("compacted-bv-outside-xcomp-bv", V1 "13.8.2", GP, xrstor_trap(OPMASK, c, 0, ok, SSE));
	check("compacted-header-byte-16", V1 "13.8.2", GP, xrstor_trap(0, c, 16, ok, SSE));
	check("compacted-header-byte-63", V1 "13.8.2", GP, xrstor_trap(0, c, 63, ok, SSE));
	check("standard-reserved-mxcsr-with-sse", V1 "13.8.1", GP, xrstor_trap(0, 0, 0, bad, SSE));
	check("standard-reserved-mxcsr-with-avx", V1 "13.8.1", GP, xrstor_trap(0, 0, 0, bad, AVX));
	check("standard-reserved-mxcsr-unused", V1 "13.8.1", (u64)NO_TRAP, xrstor_trap(0, 0, 0, bad, X87));
	check("compacted-reserved-mxcsr-with-sse", V1 "13.8.2", GP, xrstor_trap(SSE, c, 0, bad, SSE));
	check("compacted-reserved-mxcsr-unused", V1 "13.8.2", (u64)NO_TRAP, xrstor_trap(0, c, 0, bad, SSE | AVX));

	set_mxcsr(0x1f80);
	TRY_AREA("xrstor64", (u8 *)&image + 8, SSE);
	check("xrstor-misaligned", V1 "13.13", GP, last_trap);
	TRY_AREA("xsave64", (u8 *)&scratch + 16, SSE);
	check("xsave-misaligned", V1 "13.13", GP, last_trap);
	TRY_AREA("xsavec64", (u8 *)&scratch + 32, SSE);
	check("xsavec-misaligned", V1 "13.13", GP, last_trap);
	TRY_AREA("xsaves64", &scratch, SSE);
	check("xsaves-in-user-mode", V1 "13.11", GP, last_trap);
	TRY_AREA("xrstors64", &scratch, SSE);
	check("xrstors-in-user-mode", V1 "13.12", GP, last_trap);
	TRY("xsetbv", "a"(7), "d"(0), "c"(0));
	check("xsetbv-in-user-mode", "vol.2 XSETBV", GP, last_trap);
	TRY("xgetbv", "c"(2));
	check("xgetbv-of-an-unknown-register", "vol.2 XGETBV", GP, last_trap);

	/* A fault keeps all state: what was loaded before is seen after it. */
	load_everything();
	fresh(&image);
	image.mxcsr = 0x1f80;
	image.header[0] = 1;
	TRY_AREA("xrstor64", &image, SAVED);
	fresh(&scratch);
	xsave(&scratch, SAVED & ~PKRU);
	check("faulting-xrstor-loads-nothing", V1 "13.8", 1,
	      last_trap == GP && same(&scratch.xmm, &standard.xmm, 256) && scratch.fcw == 0x37f && scratch.mxcsr == 0x1fa0);
	set_mxcsr(0x1f80);
}

static void upper_state(void)
{
	u64 after_load, after_vzeroupper;

	initialise(AVX | AVX512);
	asm volatile("vmovdqu64 %0, %%zmm3" : : "m"(values[0]));
	after_load = xgetbv(1);
	asm volatile("vzeroupper");
	fresh(&scratch);
	after_vzeroupper = xgetbv(1);
	xsave(&scratch, SSE | AVX | AVX512);
	check("zmm-load-uses-sse-avx-and-hi256", V1 "13.6", SSE | AVX | ZMM_HI256, after_load & (SSE | AVX | AVX512));
	check("vzeroupper-initialises-avx", V1 "13.6", 0, after_vzeroupper & (AVX | ZMM_HI256));
	check("vzeroupper-keeps-xmm", "vol.2 VZEROUPPER", 1, same(scratch.xmm[3], values[0], 16));

	initialise(AVX | AVX512);
	asm volatile("vmovdqu64 %0, %%zmm19" : : "m"(values[1]));
	asm volatile("vzeroupper");
	after_load = xgetbv(1);
	check("vzeroupper-keeps-hi16-zmm", "vol.2 VZEROUPPER", HI16_ZMM, after_load & (AVX | AVX512));

	asm volatile("kmovq %0, %%k3" : : "m"(values[2]));
	after_load = xgetbv(1);
	check("opmask-in-use", V1 "13.6", OPMASK, after_load & OPMASK);
	initialise(AVX | AVX512);
	asm volatile("vmovdqu64 %0, %%zmm3\n\tvmovdqu %1, %%xmm3" : : "m"(values[0]), "m"(values[1]));
	fresh(&scratch);
	xsave(&scratch, SSE | AVX | AVX512);
	check("vex-write-clears-upper-bits", V1 "15.5", 1, all_are(at(&scratch, 576 + 48), 0, 16) &&
	      all_are(at(&scratch, standard_offset(6) + 96), 0, 32));
}

static void fxsave_format(void)
{
	fresh(&scratch);
	load_everything();
	asm volatile("fxsave64 (%0)" : : "r"(&scratch) : "memory");
	check("fxsave-is-as-the-legacy-region", "vol.2 FXSAVE", 1, same(&scratch, &standard, 416));
	check("fxsave-leaves-bytes-for-software", "vol.2 FXSAVE", 1, all_are(scratch.unused + 48, PATTERN, 48));

	set_mxcsr(0x1f80);
	copy(&image, &scratch, 512);
	image.xmm[3][0] ^= 0xff;
	asm volatile("fxrstor64 (%0)" : : "r"(&image) : "memory");
	fresh(&scratch);
	xsave(&scratch, SSE | AVX | AVX512);
	check("fxrstor-loads-mxcsr", "vol.2 FXRSTOR", 0x1fa0, scratch.mxcsr);
	check("fxrstor-loads-xmm", "vol.2 FXRSTOR", (u8)~values[0][0], scratch.xmm[3][0]);
	check("fxrstor-leaves-ymm", "vol.2 FXRSTOR", 1, same(at(&scratch, 576 + 48), values[0] + 16, 16));
	set_mxcsr(0x1f80);
	image.mxcsr = 0x11f80;
	TRY("fxrstor64 (%1)", "r"(&image));
	check("fxrstor-reserved-mxcsr", "vol.2 FXRSTOR", GP, last_trap);
	TRY("fxrstor64 (%1)", "r"((u8 *)&image + 8));
	check("fxrstor-misaligned", "vol.2 FXRSTOR", GP, last_trap);
	TRY("fxsave64 (%1)", "r"((u8 *)&image + 8));
	check("fxsave-misaligned", "vol.2 FXSAVE", GP, last_trap);
	TRY("ldmxcsr %1", "m"(image.mxcsr));
	check("ldmxcsr-reserved-bits", "vol.2 LDMXCSR", GP, last_trap);
}

/*
 * XSAVEC of PKRU=0.  Vol.1 13.6: PKRU is initial if it is 0, and XINUSE[9] may be 1 even then.  Of the component's 8
 * bytes PKRU is the first 4 (13.5.7); a Xeon leaves the others as they are.
 */
static int zero_pkru_is_saved_as_initial(void)
{
	u8 *saved = at(&scratch, 576);

	fresh(&scratch);
	wrpkru(0);
	xsavec(&scratch, PKRU);
	return all_are(saved, scratch.xstate_bv & PKRU ? 0 : PATTERN, 4);
}

static void protection_keys(void)
{
	u8 *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int key = syscall(SYS_pkey_alloc, 0, 0);

	*page = 1;
	wrpkru(0x4);
	u64 set = xgetbv(1);
	u32 read = rdpkru();
	wrpkru(0);
	check("pkru-of-zero-is-saved-as-initial", V1 "13.6", 1, zero_pkru_is_saved_as_initial());
	check("pkru-not-zero-is-in-use", V1 "13.6", PKRU, set & PKRU);
	check("rdpkru-reads-what-wrpkru-wrote", "vol.2 RDPKRU", 4, read);
	TRY("rdpkru", "c"(1));
	check("rdpkru-with-ecx", "vol.2 RDPKRU", GP, last_trap);
	TRY("wrpkru", "a"(0), "c"(1), "d"(0));
	check("wrpkru-with-ecx", "vol.2 WRPKRU", GP, last_trap);
	TRY("wrpkru", "a"(0), "c"(0), "d"(1));
	check("wrpkru-with-edx", "vol.2 WRPKRU", GP, last_trap);

	check("a-key-can-be-had", "vol.3 4.6.2", 1, key > 0 && !syscall(SYS_pkey_mprotect, page, 4096, 3, key));
	wrpkru(1u << 2 * key);
	TRY("cmpb $0, (%1)", "r"(page));
	wrpkru(0);
	check("access-disable-faults-on-read", "vol.3 4.6.2", PF << 8 | SEGV_PKUERR, last_trap << 8 | last_code);
	wrpkru(2u << 2 * key);
	TRY("cmpb $0, (%1)", "r"(page));
	wrpkru(0);
	check("write-disable-lets-read", "vol.3 4.6.2", 0, last_signal);
	wrpkru(2u << 2 * key);
	TRY("movb $2, (%1)", "r"(page));
	wrpkru(0);
	check("write-disable-faults-on-write", "vol.3 4.6.2", PF << 8 | SEGV_PKUERR, last_trap << 8 | last_code);
	wrpkru(0xfffffffc); /* all keys but that of the stack and this code */
	long pid = syscall(SYS_getppid);
	wrpkru(0);
	check("pkru-spares-the-kernels-own-pages", "vol.3 4.6.2", getppid(), pid);
}

int main(void)
{
	require(X87 | SSE | AVX | AVX512, 0xf);
	for (int i = 0; i < 8; i++)
		scatter(values[i], 7 + i, sizeof values[i]);
	catch_faults();
	enumeration();
	standard_format();
	standard_subsets();
	compacted_format();
	restoring();
	mxcsr_rules();
	restoring_faults();
	upper_state();
	fxsave_format();
	if (has(PKRU))
		protection_keys();
	else
		printf("skip protection keys: XCR0 lacks %#llx\n", PKRU);
	return failures != 0;
}
