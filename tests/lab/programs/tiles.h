/* Tile instructions and what their operands look like; the same in user space and in a guest. */
#ifndef TILES_H
#define TILES_H

#include "check.h"

/* Encodings by hand: an assembler need not know AMX. */
#define LDTILECFG_RDI ".byte 0xc4,0xe2,0x78,0x49,0x07\n\t"
#define STTILECFG_RDI ".byte 0xc4,0xe2,0x79,0x49,0x07\n\t"
#define TILERELEASE ".byte 0xc4,0xe2,0x78,0x49,0xc0\n\t"
#define TILEZERO0 ".byte 0xc4,0xe2,0x7b,0x49,0xc0\n\t"
#define TILELOADD0_RDI_RSI ".byte 0xc4,0xe2,0x7b,0x4b,0x04,0x37\n\t"   /* tileloadd (%rdi,%rsi,1), %tmm0 */
#define TILELOADD1_RDI_RSI ".byte 0xc4,0xe2,0x7b,0x4b,0x0c,0x37\n\t"
#define TILELOADD2_RDI_RSI ".byte 0xc4,0xe2,0x7b,0x4b,0x14,0x37\n\t"
#define TILELOADDT1_0_RDI_RSI ".byte 0xc4,0xe2,0x79,0x4b,0x04,0x37\n\t"
#define TILESTORED0_RDI_RSI ".byte 0xc4,0xe2,0x7a,0x4b,0x04,0x37\n\t"
#define TDPBSSD_0_1_2 ".byte 0xc4,0xe2,0x6b,0x5e,0xc1\n\t" /* tmm0 += tmm1 * tmm2 */
#define TDPBSUD_0_1_2 ".byte 0xc4,0xe2,0x6a,0x5e,0xc1\n\t"
#define TDPBUSD_0_1_2 ".byte 0xc4,0xe2,0x69,0x5e,0xc1\n\t"
#define TDPBUUD_0_1_2 ".byte 0xc4,0xe2,0x68,0x5e,0xc1\n\t"
#define TDPBF16PS_0_1_2 ".byte 0xc4,0xe2,0x6a,0x5c,0xc1\n\t"
#define TILELOADD0_RDI_NO_INDEX ".byte 0xc4,0xe2,0x7b,0x4b,0x04,0x27\n\t"
#define TILELOADD0_RDI_NO_SIB ".byte 0xc4,0xe2,0x7b,0x4b,0x07\n\t"
#define TDPBSSD_0_0_2 ".byte 0xc4,0xe2,0x6b,0x5e,0xc0\n\t"

static inline void ldtilecfg(const struct tile_config *config)
{
	asm volatile(LDTILECFG_RDI : : "D"(config) : "memory");
}

static inline void sttilecfg(struct tile_config *config)
{
	asm volatile(STTILECFG_RDI : : "D"(config) : "memory");
}

static inline void tilerelease(void)
{
	asm volatile(TILERELEASE : : : "memory");
}

static inline void configure(struct tile_config *config, int tile, u8 rows, u16 colsb)
{
	config->palette = 1;
	config->rows[tile] = rows;
	config->colsb[tile] = colsb;
}

/* All eight tiles of 16 rows of 64 bytes. */
static inline void configure_all(struct tile_config *config)
{
	fill(config, 0, sizeof *config);
	for (int i = 0; i < 8; i++)
		configure(config, i, 16, 64);
}

#define WITH_TILE(code, memory, stride) asm volatile(code : : "D"(memory), "S"((u64)(stride)) : "memory")

#endif
