/* Recognizable content: 32-bit words that count up. */
static void put_counted(void *place, uint32_t first, size_t words)
{
	for (size_t i = 0; i < words; i++)
		put_u32((uint8_t *)place + 4 * i, first + (uint32_t)i);
}


/* TILECFG: palette 1, eight tiles of 16 rows of 64 bytes (SDM vol.2 LDTILECFG). */
static void put_tile_configuration(uint8_t *place)
{
	place[0] = 1;
	for (int tile = 0; tile < 8; tile++) {
		put_u16(place + 16 + 2 * tile, 64);
		place[48 + tile] = 16;
	}
}


/* ST0-ST7: normal numbers, all different. */
static void put_st_registers(uint8_t *image)
{
	for (int st = 0; st < 8; st++) {
		put_u64(image + XSAVE_ST + 16 * st, 0x8000000000000001ULL + (uint64_t)st);
		put_u16(image + XSAVE_ST + 16 * st + 8, (uint16_t)(0x3fff + st));
	}
}
