/* Unspecified bits, the same in each byte of a range. */
struct open_bits {
	size_t offset, size;
	uint8_t bits;
};


/* The expected content of an output; fill() writes it over zeros. */
struct content {
	size_t size;
	void (*fill)(uint8_t *bytes);
	const struct open_bits *open;
	size_t opens;
};


enum { LARGEST_CONTENT = 1 << 16 };


/* Returns the expected content, with the observed value in each unspecified bit. */
static const uint8_t *made(const struct content *content, const uint8_t *seen)
{
	static uint8_t bytes[LARGEST_CONTENT];

	memset(bytes, 0, content->size);
	content->fill(bytes);
	for (const struct open_bits *open = content->open; open < content->open + content->opens; open++)
		for (size_t i = open->offset; i < open->offset + open->size; i++)
			bytes[i] = (uint8_t)((bytes[i] & ~open->bits) | (seen[i] & open->bits));
	return bytes;
}


static void print_bytes(const char *which, const uint8_t *bytes, size_t size)
{
	printf("      %s", which);
	for (size_t i = 0; i < size && i < 16; i++)
		printf(" %02x", bytes[i]);
	puts(size > 16 ? " ..." : "");
}


static void print_differences(const uint8_t *wanted, const uint8_t *seen, size_t size)
{
	enum { MOST = 8 };
	int shown = 0;

	for (size_t i = 0, end; i < size && shown < MOST; i = end) {
		for (end = i; end < size && wanted[end] != seen[end]; end++)
			;
		if (end == i) {
			end++;
			continue;
		}
		mismatch("bytes %zu-%zu", i, end - 1);
		print_bytes("expected", wanted + i, end - i);
		print_bytes("observed", seen + i, end - i);
		shown++;
	}
}


static void expect_bytes(const uint8_t *seen, const struct content *content)
{
	const uint8_t *wanted = made(content, seen);

	checks++;
	if (memcmp(wanted, seen, content->size) == 0)
		return;
	mismatches++;
	print_differences(wanted, seen, content->size);
}


/* Checks that a buffer of `size` bytes has one of these XSAVE images, and that no further byte was written. */
static void expect_image(const uint8_t *seen, size_t size, const struct content *const *choices, size_t count)
{
	size_t end = size;

	printf("    XSTATE_BV = %#llx\n", (unsigned long long)u64_at(seen + XSAVE_XSTATE_BV));
	checks++;
	while (end > 0 && seen[end - 1] == CANARY)
		end--;
	for (size_t i = 0; i < count; i++)
		if (end <= choices[i]->size && memcmp(made(choices[i], seen), seen, choices[i]->size) == 0)
			return;
	mismatches++;
	if (end > choices[0]->size)
		mismatch("the kernel wrote %zu bytes, expected %zu", end, choices[0]->size);
	print_differences(made(choices[0], seen), seen, choices[0]->size);
}
