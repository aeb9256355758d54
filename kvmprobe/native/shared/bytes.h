static uint64_t u8_at(const void *place)
{
	return *(const uint8_t *)place;
}


static uint64_t u16_at(const void *place)
{
	uint16_t value;

	memcpy(&value, place, sizeof(value));
	return value;
}


static uint64_t u32_at(const void *place)
{
	uint32_t value;

	memcpy(&value, place, sizeof(value));
	return value;
}


static uint64_t u64_at(const void *place)
{
	uint64_t value;

	memcpy(&value, place, sizeof(value));
	return value;
}


static void put_u16(void *place, uint16_t value)
{
	memcpy(place, &value, sizeof(value));
}


static void put_u32(void *place, uint32_t value)
{
	memcpy(place, &value, sizeof(value));
}


static void put_u64(void *place, uint64_t value)
{
	memcpy(place, &value, sizeof(value));
}
