/*
 * What the manuals leave open, as this processor does it, in user space: a line "shows FREEDOM QUESTION ANSWER" each,
 * FREEDOM being one of kvmprobe/model/freedom.py.  The checks hold whatever the answers are.
 */
#include "user.h"
#include "tiles.h"

#define V1 "vol.1 "
#define OTHER_MASK 0x12345
#define FCW_RESERVED 0xe0c0
#define GARBAGE 0xee

static struct area given, saved;
static struct tile_config config, stored;
static u8 tile[64];

static void shows(const char *freedom, const char *question, u64 answer)
{
	printf("shows %s %s %#llx\n", freedom, question, (unsigned long long)answer);
	fflush(stdout);
}

static void initialise(u64 components)
{
	static struct area zero;

	zero.mxcsr = 0x1f80;
	xrstor(&zero, components);
}

static void fresh(struct area *area)
{
	fill(area, PATTERN, sizeof *area);
	fill(&area->xstate_bv, 0, 64);
}

/* printf uses vector registers: it comes last. */
static void in_use(void)
{
	static u8 zeros[32];
	u64 restored, loaded, reset, bv;

	fresh(&saved);
	initialise(X87 | SSE | AVX);
	restored = xgetbv(1) & (X87 | SSE | AVX);
	asm volatile("vmovdqu %0, %%ymm3" : : "m"(zeros));
	loaded = xgetbv(1) & (SSE | AVX);
	asm volatile("fninit");
	reset = xgetbv(1) & X87;
	xsavec(&saved, X87 | SSE | AVX);
	bv = saved.xstate_bv;
	shows("GUEST_XINUSE", "x87-sse-avx-after-xrstor-to-init", restored);
	shows("GUEST_XINUSE", "sse-avx-after-a-load-of-zeros", loaded);
	shows("GUEST_XINUSE", "x87-after-fninit", reset);
	shows("XINUSE_OF_INIT", "xstate-bv-of-init-contents", bv);
	check("xsavec-writes-avx-with-its-bit-alone", V1 "13.10", 1,
	      all_are(saved.extended, bv & AVX ? 0 : PATTERN, 256));
	check("xsavec-writes-fcw-with-its-bit-alone", V1 "13.10", bv & X87 ? 0x37f : 0xa5a5, saved.fcw);
	check("xsavec-writes-mxcsr-with-its-bit-alone", V1 "13.10", bv & SSE ? 0x1f80 : 0xa5a5a5a5, saved.mxcsr);
	shows("LEGACY_FOLLOWS_XINUSE", "fcw-and-mxcsr-written", (saved.fcw == 0x37f) | (saved.mxcsr == 0x1f80) << 1);
}

/* An area that says SSE, with another MXCSR_MASK, restored and saved again into the same area. */
static void mask(void)
{
	static struct area legacy;

	asm volatile("fxsave64 (%0)" : : "r"(&legacy) : "memory");
	fill(&given, 0, sizeof given);
	given.mxcsr = 0x1fa0;
	given.mxcsr_mask = OTHER_MASK;
	fill(given.xmm, GARBAGE, sizeof given.xmm);
	given.xstate_bv = SSE;
	xrstor(&given, SSE);
	xsaveopt(&given, SSE);
	u32 seen = given.mxcsr_mask;
	check("mxcsr-mask-is-the-stored-or-the-processors", V1 "13.5.2", 1, seen == OTHER_MASK || seen == legacy.mxcsr_mask);
	check("mxcsr-is-kept", V1 "13.5.2", 0x1fa0, given.mxcsr);
	shows("MXCSR_MASK", "rewritten-by-xsaveopt", seen != OTHER_MASK);
	initialise(SSE);
}

#define ROUNDS 400000

/*
 * AVX state that XRSTOR takes to INIT with ZMM_Hi256 in use, and XSAVEOPT to the same area after some microseconds:
 * the bit may be set (SDM vol.1 13.6), and the bytes are then zero, or those that were there.  An interrupt between
 * the two seems to matter, so there are many rounds.
 */
static void left_avx(void)
{
	int left = 0, other = 0;

	fresh(&given);
	fill(&given, 0, 512);
	given.mxcsr = 0x1f80;
	for (int i = 0; i < ROUNDS && !left; i++) {
		fill(given.extended, GARBAGE, 256);
		given.xstate_bv = ZMM_HI256;
		xrstor(&given, SSE | AVX | ZMM_HI256);
		for (int j = 0; j < 1000; j++)
			asm volatile("");
		xsaveopt(&given, SSE | AVX | ZMM_HI256);
		left = (given.xstate_bv & AVX) && all_are(given.extended, GARBAGE, 256);
		other += (given.xstate_bv & AVX) && !left && !all_are(given.extended, 0, 256);
	}
	initialise(SSE | AVX | ZMM_HI256);
	check("bytes-of-avx-in-init-are-zero-or-the-older", V1 "13.9", 0, other);
	shows("AVX_LEFT", "older-bytes-of-avx-in-init-under-a-set-bit", left);
}

static void restore_x87(u64 fip, u64 fdp)
{
	fill(&given, 0, sizeof given);
	given.fcw = 0xffff;
	given.ftw = 0xff;
	given.reserved = GARBAGE;
	given.fop = 0x5d9;
	given.fip = fip;
	given.fdp = fdp;
	for (int i = 0; i < 8; i++) {
		fill(given.st[i], GARBAGE, 16);
		given.st[i][9] = 0x3f; /* a number, not a NaN */
	}
	given.xstate_bv = X87;
	xrstor(&given, X87);
	fresh(&saved);
	xsave(&saved, X87);
	asm volatile("fninit");
}

/* CPUID.0: "AuthenticAMD", "HygonGenuine"; APM vol.5 FXSAVE: with an exception pending alone. */
static int keeps_pointers(void)
{
	return EBX_OF(0, 0) != 0x68747541 && EBX_OF(0, 0) != 0x6f677948;
}

static void x87(void)
{
	const u64 fip = 0x7fff01234567, fdp = 0xffffffff76543211;
	int padding = 0;

	restore_x87(fip, fdp);
	for (int i = 0; i < 8; i++)
		padding |= saved.st[i][10];
	check("x87-registers-are-kept", V1 "13.5.1", 1, same(saved.st[3], given.st[3], 10));
	check("fcw-bits-that-are-defined-are-kept", V1 "8.1.5", 0xffff & ~FCW_RESERVED, saved.fcw & ~FCW_RESERVED);
	check("reserved-byte-is-kept-cleared-or-left", V1 "10.5.1", 1,
	      saved.reserved == 0 || saved.reserved == GARBAGE || saved.reserved == PATTERN);
	shows("X87_RESERVED", "fcw-reserved-bits-kept", saved.fcw & FCW_RESERVED);
	shows("X87_RESERVED", "byte-after-ftw", saved.reserved);
	shows("ST_PADDING", "byte-after-a-register", padding);
	int kept = saved.fop == 0x5d9 && saved.fip == fip && saved.fdp == fdp;
	check("x87-pointers-are-kept-where-they-are-saved", V1 "13.5.1", 1, kept || !keeps_pointers());
	shows("X87_POINTERS", "of-an-area-kept", kept);
	shows("X87_POINTERS", "written-if-not-kept", saved.fip != 0xa5a5a5a5a5a5a5a5);

	restore_x87(0x0102030405060708, 0x1112131415161718);
	shows("X87_POINTERS", "not-canonical-kept", saved.fip == 0x0102030405060708 && saved.fdp == 0x1112131415161718);
	asm volatile("fninit\n\tfnop");
	shows("X87_BY_POINTERS", "x87-in-use-after-fninit-and-fnop", xgetbv(1) & X87);
	fresh(&saved);
	xsave(&saved, X87);
	shows("X87_POINTERS", "fip-set-by-fnop", saved.fip != 0);
	asm volatile("fninit");
}

/* XRSTOR of a configuration and of data; what XSAVE then says is in use. */
static u64 restored_tiles(u64 components)
{
	u8 *place = (u8 *)&given + standard_offset(18);

	tilerelease();
	fill(&given, 0, sizeof given);
	given.mxcsr = 0x1f80;
	copy((u8 *)&given + standard_offset(17), &config, 64);
	for (int row = 0; row < 4; row++)
		copy(place + 64 * row, tile, 16);
	given.xstate_bv = components;
	xrstor(&given, TILECFG | TILEDATA);
	fresh(&saved);
	xsave(&saved, TILECFG | TILEDATA);
	sttilecfg(&stored);
	tilerelease();
	return saved.xstate_bv & (TILECFG | TILEDATA);
}

static int tiles_are_kept(void)
{
	return same((u8 *)&given + standard_offset(18), (u8 *)&saved + standard_offset(18), 8192);
}

static void tiles(void)
{
	const u64 both = TILECFG | TILEDATA;

	syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18);
	scatter(tile, 5, sizeof tile);
	fill(&config, 0, sizeof config);
	configure(&config, 0, 4, 16);
	check("narrow-tiles-are-kept", V1 "13.12", both, restored_tiles(both));
	check("narrow-configuration-is-kept", V1 "13.12", 1, same(&config, &stored, 64));
	check("data-of-narrow-tiles-is-kept", V1 "13.12", 1, tiles_are_kept());
	shows("TILES_OUTSIDE_CONFIGURATION", "in-use-without-a-configuration", restored_tiles(TILEDATA));
	shows("TILES_OUTSIDE_CONFIGURATION", "bytes-kept-without-a-configuration", tiles_are_kept());
	config.colsb[0] = 8;
	shows("TILES_OUTSIDE_CONFIGURATION", "in-use-with-narrower-tiles", restored_tiles(both));
	shows("TILES_OUTSIDE_CONFIGURATION", "bytes-kept-with-narrower-tiles", tiles_are_kept());
	config.palette = 2;
	shows("TILE_CONFIGURATION_ILLEGAL", "in-use-with-palette-2", restored_tiles(both));
	shows("TILE_CONFIGURATION_ILLEGAL", "palette-that-sttilecfg-stores", stored.palette);
}

int main(void)
{
	require(X87 | SSE | AVX, 7);
	catch_faults();
	in_use();
	mask();
	x87();
	/* "AuthenticAMD": only there is it known. */
	if (has(AVX512) && EBX_OF(0, 0) == 0x68747541)
		left_avx();
	else
		printf("skip bytes-of-avx-in-init-are-zero-or-the-older: needs an AMD processor with AVX-512\n");
	if (has(TILECFG | TILEDATA))
		tiles();
	else
		printf("skip tiles: XCR0 lacks %#llx\n", (TILECFG | TILEDATA) & ~xgetbv(0));
	return failures != 0;
}
