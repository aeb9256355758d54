/* AMX as user space sees it: permission and #NM, configuration, tiles in memory, products, XSAVE, signal frames. */
#include "user.h"
#include "tiles.h"

static struct area area;
static struct tile_config config, stored;
static u8 rows[16][64], seen[16][128];
static u8 a[16][64], b[16][64];
static u32 c[16][16], product[16][16];

static u64 permitted(void)
{
	u64 features = 0;

	syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &features);
	return features;
}

static void before_permission(void)
{
	check("no-permission-at-first", "vol.1 13.14", 0, permitted() & TILEDATA);
	configure_all(&config);
	TRY(LDTILECFG_RDI, "D"(&config));
	int configured = last_signal;
	u64 inuse = xgetbv(1);
	TRY(STTILECFG_RDI, "D"(&stored));
	int saved = last_signal;
	TRY(TILEZERO0, "i"(0));
	int zeroed = last_signal;
	TRY(TILELOADD0_RDI_RSI, "D"(rows), "S"(64ull));
	int loaded = last_signal;
	TRY(TDPBSSD_0_1_2, "i"(0));
	int multiplied = last_signal;
	TRY(TILESTORED0_RDI_RSI, "D"(seen), "S"(64ull));
	int written = last_signal;
	fill(&area, 0, sizeof area);
	area.mxcsr = 0x1f80;
	TRY_AREA("xrstor64", &area, TILECFG | TILEDATA);
	int initialised = last_signal;
	area.xstate_bv = TILEDATA;
	TRY_AREA("xrstor64", &area, TILECFG | TILEDATA);
	int restored = last_signal;
	TRY(TILERELEASE, "i"(0));
	check("xfd-lets-ldtilecfg", "vol.1 13.14", 0, configured);
	check("xfd-lets-sttilecfg", "vol.1 13.14", 0, saved);
	check("xfd-lets-tilerelease", "vol.1 13.14", 0, last_signal);
	check("xfd-tilecfg-in-use", "vol.1 13.14", TILECFG, inuse & (TILECFG | TILEDATA));
	check("xfd-stops-tilezero", "vol.1 13.14", SIGILL, zeroed);
	check("xfd-stops-tileloadd", "vol.1 13.14", SIGILL, loaded);
	check("xfd-stops-tdpbssd", "vol.1 13.14", SIGILL, multiplied);
	check("xfd-stops-tilestored", "vol.1 13.14", SIGILL, written);
	check("xfd-lets-xrstor-initialise", "vol.1 13.14", 0, initialised);
	check("xfd-stops-xrstor", "vol.1 13.14", SIGILL, restored);
	fill(&area, PATTERN, sizeof area);
	xsavec(&area, TILECFG | TILEDATA);
	check("xfd-xsavec-says-initial", "vol.1 13.14", COMPACT | TILECFG | TILEDATA, area.xcomp_bv | area.xstate_bv);
}

static void permission(void)
{
	check("permission-is-given", "vol.1 13.14", 0, syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18));
	check("permission-is-told", "vol.1 13.14", TILEDATA, permitted() & TILEDATA);
	configure_all(&config);
	TRY(LDTILECFG_RDI, "D"(&config));
	TRY(TILELOADD0_RDI_RSI, "D"(rows), "S"(64ull));
	check("tileloadd-works-then", "vol.1 13.14", 0, last_signal);
	tilerelease();
}

static void enumeration(void)
{
	check("amx-tile-int8-bf16", "vol.2 CPUID leaf 7", 7,
	      (EDX_OF(7, 0) >> 24 & 3) | (EDX_OF(7, 0) >> 22 & 1) << 2);
	check("most-palettes", "vol.2 CPUID leaf 1DH", 1, EAX_OF(0x1d, 0));
	check("palette-sizes", "vol.2 CPUID leaf 1DH", 1024u << 16 | 8192, EAX_OF(0x1d, 1));
	check("palette-names-and-row", "vol.2 CPUID leaf 1DH", 8u << 16 | 64, EBX_OF(0x1d, 1));
	check("palette-rows", "vol.2 CPUID leaf 1DH", 16, ECX_OF(0x1d, 1));
	check("tmul", "vol.2 CPUID leaf 1EH", 64u << 8 | 16, EBX_OF(0x1e, 0) & 0xffffff);
}

static u64 inuse(void)
{
	return xgetbv(1) & (TILECFG | TILEDATA);
}

static void in_use(void)
{
	configure_all(&config);
	tilerelease();
	u64 released = inuse();
	ldtilecfg(&config);
	u64 configured = inuse();
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	u64 loaded = inuse();
	ldtilecfg(&config);
	u64 again = inuse();
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	config.palette = 0;
	fill(&config.start_row, 0, 63);
	ldtilecfg(&config);
	u64 palette0 = inuse();
	check("tilerelease-initialises", "vol.2 TILERELEASE", 0, released);
	check("ldtilecfg-uses-tilecfg", "vol.1 13.6", TILECFG, configured);
	check("tileloadd-uses-tiledata", "vol.1 13.6", TILECFG | TILEDATA, loaded);
	check("ldtilecfg-initialises-tiledata", "vol.2 LDTILECFG", TILECFG, again);
	check("ldtilecfg-of-palette-0-initialises", "vol.2 LDTILECFG", 0, palette0);

	configure_all(&config);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	asm volatile(TILEZERO0 : : : "memory");
	fill(seen, PATTERN, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	check("tilezero-zeroes", "vol.2 TILEZERO", 1, all_are(seen, 0, 1024));
	tilerelease();
	TRY(TILESTORED0_RDI_RSI, "D"(seen), "S"(64ull));
	check("released-tiles-are-undefined-opcodes", "vol.2 TILESTORED", UD, last_trap);
}

static int ldtilecfg_trap(void)
{
	TRY(LDTILECFG_RDI, "D"(&config));
	int trap = last_signal ? last_trap : NO_TRAP;
	configure_all(&config);
	return trap;
}

static void configuration(void)
{
	configure_all(&config);
	config.start_row = 3;
	config.rows[5] = 7;
	config.colsb[5] = 20;
	config.rows[7] = config.colsb[7] = 0;
	fill(&stored, PATTERN, sizeof stored);
	ldtilecfg(&config);
	sttilecfg(&stored);
	check("sttilecfg-stores-what-was-loaded", "vol.2 STTILECFG", 1, same(&config, &stored, 64));
	tilerelease();
	fill(&stored, PATTERN, sizeof stored);
	sttilecfg(&stored);
	check("sttilecfg-of-initial-state-is-zero", "vol.2 STTILECFG", 1, all_are(&stored, 0, 64));

	configure_all(&config);
	ldtilecfg(&config);
	config.palette = 2;
	check("palette-2", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.reserved[0] = 1;
	check("reserved-byte-2", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.reserved[13] = 1;
	check("reserved-byte-15", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.reserved_colsb[0] = 1;
	check("reserved-byte-32", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.reserved_rows[7] = 1;
	check("reserved-byte-63", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.rows[3] = 17;
	check("17-rows", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.colsb[3] = 65;
	check("65-bytes-per-row", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.rows[3] = 0;
	check("no-rows-but-columns", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	config.colsb[3] = 0;
	check("no-columns-but-rows", "vol.2 LDTILECFG", GP, ldtilecfg_trap());
	sttilecfg(&stored);
	check("faulting-ldtilecfg-changes-nothing", "vol.2 LDTILECFG", 1, same(&config, &stored, 64));
	tilerelease();
}

static void tiles_in_memory(void)
{
	int wrong = 0;

	fill(&config, 0, sizeof config);
	configure(&config, 0, 5, 24);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	fill(seen, PATTERN, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 128);
	for (int i = 0; i < 16; i++) {
		int inside = i < 5;

		wrong |= (inside && !same(seen[i], rows[i], 24)) << 0;
		wrong |= (!all_are(seen[i] + (inside ? 24 : 0), PATTERN, inside ? 104 : 128)) << 1;
	}
	check("tile-rows-and-columns-pass-through", "vol.2 TILELOADD", 0, wrong & 1);
	check("tilestored-writes-only-its-tile", "vol.2 TILESTORED", 0, wrong & 2);

	fill(&area, PATTERN, sizeof area);
	fill(&area.xstate_bv, 0, 64);
	xsave(&area, TILECFG | TILEDATA);
	u8 *tile = (u8 *)&area + standard_offset(18);
	check("xsave-of-tiles-sets-both-bits", "vol.1 13.7", TILECFG | TILEDATA, area.xstate_bv);
	check("xsave-writes-the-configuration", "vol.1 13.5", 1, same((u8 *)&area + standard_offset(17), &config, 64));
	check("xsave-writes-a-row-every-64-bytes", "vol.1 13.5", 1,
	      same(tile, rows[0], 24) && all_are(tile + 24, 0, 40) && same(tile + 4 * 64, rows[4], 24));
	check("xsave-writes-zeroes-behind-the-rows", "vol.1 13.5", 1, all_are(tile + 5 * 64, 0, 11 * 64));

	/* TILELOADD starts at start_row and clears it. */
	fill(&config, 0, sizeof config);
	configure(&config, 0, 8, 64);
	config.start_row = 2;
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	sttilecfg(&stored);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	check("tileloadd-starts-at-start-row", "vol.2 TILELOADD", 1,
	      all_are(seen, 0, 128) && same(seen[1], rows[2], 6 * 64));
	check("tileloadd-clears-start-row", "vol.2 TILELOADD", 0, stored.start_row);

	configure_all(&config);
	ldtilecfg(&config);
	WITH_TILE(TILELOADDT1_0_RDI_RSI, rows, 64);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	check("tileloaddt1-loads", "vol.2 TILELOADDT1", 1, same(seen, rows, 1024));

	fill(seen, 0, sizeof seen);
	TRY(TILELOADD0_RDI_NO_INDEX, "D"(rows));
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	check("stride-without-an-index-is-zero", "vol.2 TILELOADD", 1,
	      same(&seen[0][0], rows[0], 64) && same(&seen[0][64], rows[0], 64) && same(&seen[7][64], rows[0], 64));
	TRY(TILELOADD0_RDI_NO_SIB, "D"(rows));
	check("tileloadd-without-sib-byte", "vol.2 TILELOADD", UD, last_trap);
	tilerelease();
}

/* The second half of a tile is on a page that cannot be read at first. */
static void page_fault(void)
{
	u8 *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 *place = pages + 4096 - 8 * 64;

	copy(place, rows, 1024);
	mprotect(pages + 4096, 4096, PROT_NONE);
	configure_all(&config);
	ldtilecfg(&config);
	TRY(TILELOADD0_RDI_RSI, "D"(place), "S"(64ull));
	int trap = last_trap;
	mprotect(pages + 4096, 4096, PROT_READ);
	WITH_TILE(TILELOADD0_RDI_RSI, place, 64);
	sttilecfg(&stored);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	TRY(TILESTORED0_RDI_RSI, "D"(place), "S"(64ull));
	int store_trap = last_trap;
	tilerelease();
	check("tileloadd-page-fault", "vol.2 TILELOADD", PF, trap);
	check("tileloadd-goes-on-after-a-page-fault", "vol.2 TILELOADD", 1, same(seen, rows, 1024));
	check("tileloadd-is-complete-then", "vol.2 TILELOADD", 0, stored.start_row);
	check("tilestored-page-fault", "vol.2 TILESTORED", PF, store_trap);
}

typedef int (*operand)(u8);

static int as_signed(u8 byte)
{
	return (signed char)byte;
}

static int as_unsigned(u8 byte)
{
	return byte;
}

#define DIM_M 7
#define DIM_K 5
#define DIM_N 9

static void load_operands(void)
{
	fill(&config, 0, sizeof config);
	configure(&config, 0, DIM_M, DIM_N * 4);
	configure(&config, 1, DIM_M, DIM_K * 4);
	configure(&config, 2, DIM_K, DIM_N * 4);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, c, 64);
	WITH_TILE(TILELOADD1_RDI_RSI, a, 64);
	WITH_TILE(TILELOADD2_RDI_RSI, b, 64);
}

static int is_product(operand left, operand right)
{
	fill(product, 0, sizeof product);
	WITH_TILE(TILESTORED0_RDI_RSI, product, 64);
	for (int m = 0; m < DIM_M; m++)
		for (int n = 0; n < DIM_N; n++) {
			u32 sum = c[m][n];

			for (int k = 0; k < DIM_K; k++)
				for (int i = 0; i < 4; i++)
					sum += left(a[m][4 * k + i]) * right(b[k][4 * n + i]);
			if (product[m][n] != sum)
				return 0;
		}
	return 1;
}

/* Whole numbers up to 255 as bfloat16 and as float32. */
static u32 float_of(int value)
{
	u32 sign = value < 0 ? 1u << 31 : 0, magnitude = value < 0 ? -value : value;

	if (!magnitude)
		return 0;
	int top = 31 - __builtin_clz(magnitude);
	return sign | (u32)(127 + top) << 23 | (magnitude << (23 - top) & 0x7fffff);
}

static int bf16_product_is_right(void)
{
	static u32 sums[DIM_M][DIM_N];

	for (int m = 0; m < DIM_M; m++)
		for (int k = 0; k < 2 * DIM_K; k++)
			((u16 *)a[m])[k] = float_of(m - 3 + 2 * k) >> 16;
	for (int k = 0; k < DIM_K; k++)
		for (int n = 0; n < DIM_N; n++)
			for (int i = 0; i < 2; i++)
				((u16 *)b[k])[2 * n + i] = float_of(n - 4 * k + i) >> 16;
	for (int m = 0; m < DIM_M; m++)
		for (int n = 0; n < DIM_N; n++) {
			int sum = 0;

			for (int k = 0; k < DIM_K; k++)
				for (int i = 0; i < 2; i++)
					sum += (m - 3 + 2 * (2 * k + i)) * (n - 4 * k + i);
			sums[m][n] = float_of(sum);
		}
	fill(c, 0, sizeof c);
	load_operands();
	asm volatile(TDPBF16PS_0_1_2 : : : "memory");
	WITH_TILE(TILESTORED0_RDI_RSI, product, 64);
	for (int m = 0; m < DIM_M; m++)
		if (!same(product[m], sums[m], sizeof sums[m]))
			return 0;
	return 1;
}

static void products(void)
{
	scatter(a, 1, sizeof a);
	scatter(b, 2, sizeof b);
	scatter(c, 3, sizeof c);
	load_operands();
	asm volatile(TDPBSSD_0_1_2 : : : "memory");
	check("tdpbssd", "vol.2 TDPBSSD", 1, is_product(as_signed, as_signed));
	load_operands();
	asm volatile(TDPBSUD_0_1_2 : : : "memory");
	check("tdpbsud", "vol.2 TDPBSSD", 1, is_product(as_signed, as_unsigned));
	load_operands();
	asm volatile(TDPBUSD_0_1_2 : : : "memory");
	check("tdpbusd", "vol.2 TDPBSSD", 1, is_product(as_unsigned, as_signed));
	load_operands();
	asm volatile(TDPBUUD_0_1_2 : : : "memory");
	check("tdpbuud", "vol.2 TDPBSSD", 1, is_product(as_unsigned, as_unsigned));
	TRY(TDPBSSD_0_0_2, "i"(0));
	check("product-of-a-tile-into-itself", "vol.2 TDPBSSD", UD, last_trap);
	configure(&config, 2, DIM_K + 1, DIM_N * 4);
	ldtilecfg(&config);
	TRY(TDPBSSD_0_1_2, "i"(0));
	check("product-of-shapes-that-do-not-fit", "vol.2 TDPBSSD", UD, last_trap);
	check("tdpbf16ps", "vol.2 TDPBF16PS", 1, bf16_product_is_right());
	tilerelease();
}

static void saving_and_restoring(void)
{
	static struct area other;
	const u64 both = TILECFG | TILEDATA;

	configure_all(&config);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	fill(&area, PATTERN, sizeof area);
	fill(&area.xstate_bv, 0, 64);
	xsavec(&area, PKRU | both); /* 8 bytes of PKRU: the tiles need alignment */
	check("xsavec-of-tiles", "vol.1 13.10", PKRU | both | COMPACT, area.xcomp_bv);
	check("xsavec-aligns-tilecfg", "vol.1 13.4.3", 1, same((u8 *)&area + 640, &config, 64));
	check("xsavec-aligns-tiledata", "vol.1 13.4.3", 1, same((u8 *)&area + 704, rows, 1024));
	check("compacted-offset-is-that", "vol.1 13.4.3", 704, compacted_offset(PKRU | both, 18));

	tilerelease();
	xrstor(&area, both);
	fill(seen, 0, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	ldtilecfg(&config);
	xrstor(&area, TILEDATA);
	fill(&other, 0, sizeof other);
	WITH_TILE(TILESTORED0_RDI_RSI, &other, 64);
	check("xrstor-of-tiledata-alone-finds-its-place", "vol.1 13.8.2", 1, same(&other, rows, 1024));
	check("xrstor-of-compacted-tiles", "vol.1 13.8.2", 1, same(seen, rows, 1024));

	fill(&other, PATTERN, sizeof other);
	fill(&other.xstate_bv, 0, 64);
	tilerelease();
	xsavec(&other, both);
	u64 bv = other.xstate_bv, comp = other.xcomp_bv;
	check("xsavec-after-tilerelease-bv", "vol.1 13.10", 0, bv);
	check("xsavec-after-tilerelease-xcomp-bv", "vol.1 13.10", both | COMPACT, comp);
	check("xsavec-after-tilerelease-writes-no-tile", "vol.1 13.10", 1, all_are((u8 *)&other + 576, PATTERN, 8256));

	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	fill(&other, 0, sizeof other);
	xrstor(&other, both);
	check("xrstor-initialises-tiles", "vol.1 13.8", 0, inuse());

	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	xrstor(&area, TILECFG); /* the configuration alone leaves the tiles */
	fill(seen, 0, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	check("xrstor-of-tilecfg-leaves-tiledata", "vol.1 13.8", 1, same(seen, rows, 1024));
	xrstor(&other, TILEDATA);
	u64 left = inuse();
	check("xrstor-initialises-tiledata-alone", "vol.1 13.8", TILECFG, left);
	tilerelease();
}

static struct area *in_frame;
static u64 inuse_in_handler;

static void on_user_signal(int number, siginfo_t *info, void *context)
{
	inuse_in_handler = inuse();
	(void)number, (void)info;
	static struct area kept;
	copy(&kept, ((ucontext_t *)context)->uc_mcontext.fpregs, EBX_OF(0xd, 0) + 4);
	in_frame = &kept;
}

static void signal_frame(void)
{
	struct sigaction action = { .sa_sigaction = on_user_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	u32 reserved[12], magic2, size = EBX_OF(0xd, 0);

	sigaction(SIGUSR1, &action, NULL);
	configure_all(&config);
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, rows, 64);
	syscall(SYS_kill, getpid(), SIGUSR1);
	u64 after = inuse();
	fill(seen, 0, sizeof seen);
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	tilerelease();
	copy(reserved, (u8 *)in_frame + 464, 48);
	copy(&magic2, (u8 *)in_frame + size, 4);
	check("frame-magic", "vol.1 13.4.1", 0x46505853, reserved[0]);
	check("frame-size", "vol.1 13.2", size, reserved[4]);
	check("frame-features", "vol.1 13.4", xgetbv(0), reserved[2] | (u64)reserved[3] << 32);
	check("frame-end-magic", "vol.1 13.2", 0x46505845, magic2);
	check("frame-has-tiles", "vol.1 13.7", TILECFG | TILEDATA, in_frame->xstate_bv & (TILECFG | TILEDATA));
	check("frame-has-their-bytes", "vol.1 13.5", 1, same((u8 *)in_frame + standard_offset(18), rows, 1024));
	check("handler-starts-with-initial-tiles", "vol.1 13.6", 0, inuse_in_handler);
	check("return-brings-tiles-back", "vol.1 13.8", TILECFG | TILEDATA, after);
	check("return-brings-their-bytes-back", "vol.1 13.8", 1, same(seen, rows, 1024));
}

static void context_switch(void)
{
	int to_child[2], to_parent[2];
	u8 token = 0;

	if (pipe(to_child) || pipe(to_parent))
		exit(99);
	configure_all(&config);
	pid_t child = fork();
	u8 *own = child ? rows[0] : &a[0][0];
	ldtilecfg(&config);
	WITH_TILE(TILELOADD0_RDI_RSI, own, 64);
	for (int i = 0; i < 20; i++) { /* each waits for the other: a switch of tasks each time */
		syscall(SYS_write, child ? to_child[1] : to_parent[1], &token, 1ul);
		syscall(SYS_read, child ? to_parent[0] : to_child[0], &token, 1ul);
	}
	WITH_TILE(TILESTORED0_RDI_RSI, seen, 64);
	int kept = same(seen, own, 1024), status = 0;
	if (!child)
		_exit(kept ? 0 : 1);
	waitpid(child, &status, 0);
	check("tiles-of-two-tasks-stay-apart", "vol.1 13.8", 1, kept && status == 0);
	tilerelease();
}

int main(void)
{
	require(TILECFG | TILEDATA, 0x1f);
	scatter(rows, 11, sizeof rows);
	scatter(a, 12, sizeof a);
	catch_faults();
	before_permission();
	permission();
	enumeration();
	in_use();
	configuration();
	tiles_in_memory();
	page_fault();
	saving_and_restoring();
	signal_frame();
	context_switch();
	products();
	return failures != 0;
}
