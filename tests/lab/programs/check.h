/*
 * What every program here prints: one line per check, "ok NAME (SDM SECTION)",
 * "not ok NAME (SDM SECTION): expected 0x.., observed 0x.." or "skip NAME (SDM SECTION): XCR0 lacks 0x..".  Sections are those of the Intel 64 and IA-32
 * Architectures Software Developer's Manual; "vol.2 NAME" is the page of an instruction.
 *
 * Everything is compiled with -mgeneral-regs-only, so vector state is what the assembly here makes it.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define X87 (1ull << 0)
#define SSE (1ull << 1)
#define AVX (1ull << 2)
#define OPMASK (1ull << 5)
#define ZMM_HI256 (1ull << 6)
#define HI16_ZMM (1ull << 7)
#define PKRU (1ull << 9)
#define TILECFG (1ull << 17)
#define TILEDATA (1ull << 18)
#define AVX512 (OPMASK | ZMM_HI256 | HI16_ZMM)
#define COMPACT (1ull << 63)

#define DE 0
#define UD 6
#define NM 7
#define GP 13
#define PF 14
#define NO_TRAP (-1)

#define AREA_SIZE 16384 /* room for every component, in any format */
#define PATTERN 0xa5

struct area {
	u16 fcw, fsw;
	u8 ftw, reserved;
	u16 fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16];
	u8 xmm[16][16];
	u8 unused[96];
	u64 xstate_bv, xcomp_bv, header[6];
	u8 extended[AREA_SIZE - 576];
} __attribute__((aligned(64)));

struct tile_config {
	u8 palette, start_row, reserved[14];
	u16 colsb[8];
	u8 reserved_colsb[16];
	u8 rows[8];
	u8 reserved_rows[8];
} __attribute__((aligned(64)));

static inline void cpuid(u32 leaf, u32 subleaf, u32 out[4])
{
	asm volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

static inline u32 cpuid_word(u32 leaf, u32 subleaf, int which)
{
	u32 out[4];

	cpuid(leaf, subleaf, out);
	return out[which];
}
#define EAX_OF(leaf, subleaf) cpuid_word(leaf, subleaf, 0)
#define EBX_OF(leaf, subleaf) cpuid_word(leaf, subleaf, 1)
#define ECX_OF(leaf, subleaf) cpuid_word(leaf, subleaf, 2)
#define EDX_OF(leaf, subleaf) cpuid_word(leaf, subleaf, 3)

static inline u64 xgetbv(u32 number)
{
	u32 low, high;

	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(number));
	return (u64)high << 32 | low;
}

/* One of the XSAVE family on an area; xsave(), xrstor() and so on. */
#define XSAVE_FAMILY(name) \
	static inline void name(void *area, u64 components) \
	{ \
		asm volatile(#name "64 (%0)" : : "r"(area), "a"((u32)components), "d"((u32)(components >> 32)) : "memory"); \
	}
XSAVE_FAMILY(xsave)
XSAVE_FAMILY(xsaveopt)
XSAVE_FAMILY(xsavec)
XSAVE_FAMILY(xsaves)
XSAVE_FAMILY(xrstor)
XSAVE_FAMILY(xrstors)

static inline void fill(void *memory, u8 value, size_t size)
{
	volatile u8 *at = memory;

	while (size--)
		*at++ = value;
}

static inline void copy(void *to, const void *from, size_t size)
{
	volatile u8 *out = to;
	const volatile u8 *in = from;

	while (size--)
		*out++ = *in++;
}

static inline int same(const void *one, const void *other, size_t size)
{
	const volatile u8 *a = one, *b = other;

	while (size--)
		if (*a++ != *b++)
			return 0;
	return 1;
}

static inline int all_are(const void *memory, u8 value, size_t size)
{
	const volatile u8 *at = memory;

	while (size--)
		if (*at++ != value)
			return 0;
	return 1;
}

/* Bytes that differ everywhere and from every fill value used. */
static inline void scatter(void *memory, u32 seed, size_t size)
{
	volatile u8 *at = memory;

	while (size--) {
		seed = seed * 1664525 + 1013904223;
		*at++ = seed >> 24;
	}
}

/* CPUID.(EAX=0DH,ECX=component): where it lies in the standard format, how long it is. */
static inline u32 standard_offset(int component)
{
	return EBX_OF(0xd, component);
}

static inline u32 component_size(int component)
{
	return EAX_OF(0xd, component);
}

/* Vol.1 13.4.3: end of the compacted format of these components, or the place of one of them. */
static inline u32 compacted_end(u64 components)
{
	u32 end = 576;

	for (int i = 2; i < 63; i++)
		if (components >> i & 1) {
			if (ECX_OF(0xd, i) & 2)
				end = (end + 63) & ~63u;
			end += component_size(i);
		}
	return end;
}

static inline u32 compacted_offset(u64 components, int component)
{
	u64 below = components & ((1ull << component) - 1);
	u32 start = compacted_end(below);

	return ECX_OF(0xd, component) & 2 ? (start + 63) & ~63u : start;
}

void check(const char *name, const char *section, u64 expected, u64 observed);

#endif
