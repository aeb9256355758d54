/* What calls with live registers (live.c) have in them: a pattern for each component that XCR0 has, or INIT. */
#include <cpuid.h>
#include <string.h>

#include "live.h"

enum { FCW_INIT = 0x37f, MXCSR_INIT = 0x1f80 };
/* Components that take any bytes: YMM, the three of AVX-512, XTILE_DATA, APX. */
#define PLAIN (1ul << 2 | 7ul << 5 | 1ul << XTILE_DATA | 1ul << 19)

/* In each word of a pattern.  It is not one of a guest, whose highest bit is 1 (kvmprobe/xstate/patterns.py). */
static const uint32_t marks[OWNERS] = { [OF_CALLER] = 0x40000000, [OF_COMPETITOR] = 0x20000000 };
/* Other precision and rounding than INIT's; FZ, DAZ, all exceptions masked. */
static const uint16_t control_words[OWNERS] = { [OF_CALLER] = 0x67f, [OF_COMPETITOR] = 0xa7f };
static const uint32_t mxcsrs[OWNERS] = { [OF_CALLER] = 0x9fc0, [OF_COMPETITOR] = 0x1fc0 };

static struct place places[COMPONENTS];

/* Returns XCR0; 0 if there is no XSAVE. */
uint64_t enabled_components(void)
{
	unsigned int eax, ebx, ecx = 0, edx, low, high;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

/* Returns the size of an image: SDM vol.2 CPUID, leaf 0DH. */
size_t find_places(uint64_t enabled)
{
	unsigned int eax, ebx, ecx, edx, size;

	__cpuid_count(0xd, 0, eax, ebx, size, edx);
	for (unsigned int nr = 2; nr < COMPONENTS; nr++)
		if (enabled >> nr & 1) {
			__cpuid_count(0xd, nr, eax, ebx, ecx, edx);
			places[nr] = (struct place){ .offset = ebx, .size = eax };
		}
	return size;
}

const struct place *place_of_component(unsigned int nr)
{
	return &places[nr];
}

static void put(uint8_t *place, uint32_t value, size_t size)
{
	memcpy(place, &value, size);
}

/* An image of zeros becomes that of INIT. */
void fill_initial(uint8_t *image)
{
	put(image, FCW_INIT, 2);
	put(image + MXCSR, MXCSR_INIT, 4);
}

/* Each word has component, nonce and place. */
static void fill(uint8_t *place, unsigned int nr, size_t size, enum owner whose, unsigned int nonce)
{
	for (uint32_t at = 0; at < size / 4; at++)
		put(place + 4 * at, marks[whose] | nr << 24 | (nonce & 0xff) << 16 | (at + 1), 4);
}

/* Palette 1 with 8 tiles of 16 rows, 64 bytes each: SDM vol.1 §18.1 "Intel AMX Introduction". */
static void fill_tile_configuration(uint8_t *place)
{
	place[0] = 1;
	for (size_t tile = 0; tile < 8; tile++) {
		place[16 + 2 * tile] = 64;
		place[48 + tile] = 16;
	}
}

/* TOP 7, all registers valid, numbers with their integer bit. */
static void fill_x87(uint8_t *image, enum owner whose, unsigned int nonce)
{
	put(image, control_words[whose], 2);
	put(image + 2, 0x3800, 2);
	put(image + 4, 0xff, 1);
	put(image + FP_POINTERS, 0x123, 2);
	put(image + 8, 0x01000000u | marks[whose] | (nonce & 0xff) << 8, 4);
	put(image + 16, 0x02000000u | marks[whose] | (nonce & 0xff) << 8, 4);
	for (unsigned int nr = 0; nr < 8; nr++) {
		uint8_t *place = image + X87_REGISTERS + 16 * (size_t)nr;

		fill(place, FP, 4, whose, nonce);
		put(place + 4, 0xc0000000u | nr, 4);
		put(place + 8, 0x4100 + nr, 2);
	}
}

/* Fills an image of INIT with a pattern in these components that have one; another nonce makes another pattern. */
void fill_pattern(uint8_t *image, uint64_t components, enum owner whose, unsigned int nonce)
{
	uint64_t present = components & (3 | PLAIN | 1ul << XTILE_CFG);

	fill_x87(image, whose, nonce);
	/* One of the four roundings. */
	put(image + MXCSR, mxcsrs[whose] | (nonce & 3) << 13, 4);
	fill(image + XMM_REGISTERS, SSE, XMM_END - XMM_REGISTERS, whose, nonce);
	for (unsigned int nr = 2; nr < COMPONENTS; nr++)
		if (present & PLAIN & 1ul << nr)
			fill(image + places[nr].offset, nr, places[nr].size, whose, nonce);
	if (present >> XTILE_CFG & 1)
		fill_tile_configuration(image + places[XTILE_CFG].offset);
	memcpy(image + XSTATE_BV, &present, sizeof(present));
}
