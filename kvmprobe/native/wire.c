/*
 * Reads what the driver sends; kvmprobe/execution/wire.py writes it.  A line consists of words: numbers in hexadecimal, and
 * bytes as SIZE/FILL,OFFSET:BASE64,...: a byte that fills them, and what differs from it.  "-" stands for no bytes.
 */
#include <string.h>

#include "session.h"

static int8_t base64_values[256];

void prepare_base64(void)
{
	memset(base64_values, -1, sizeof(base64_values));
	for (int i = 0; i < 64; i++)
		base64_values[(uint8_t)BASE64_DIGITS[i]] = (int8_t)i;
}

static void skip(const char **line, char expected)
{
	if (**line == expected)
		++*line;
}

size_t read_number(const char **line)
{
	size_t number = 0;

	for (;; ++*line) {
		char c = **line;

		if (c >= '0' && c <= '9')
			number = number << 4 | (size_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			number = number << 4 | (size_t)(c - 'a' + 10);
		else
			break;
	}
	skip(line, ' ');
	return number;
}

/* Decodes base64 up to `end`. */
static void read_base64(const char **line, uint8_t *place, const uint8_t *end)
{
	uint32_t bits = 0;
	int count = 0, value;

	while ((value = base64_values[(uint8_t)**line]) >= 0) {
		++*line;
		bits = bits << 6 | (uint32_t)value;
		count += 6;
		if (count >= 8 && place < end) {
			count -= 8;
			*place++ = (uint8_t)(bits >> count);
		}
	}
	while (**line == '=')
		++*line;
}

const uint8_t *read_bytes(const char **line, size_t *size)
{
	uint8_t *place;

	if (**line == '-') {
		*line += 1;
		skip(line, ' ');
		*size = 0;
		return NULL;
	}
	*size = read_number(line);
	skip(line, '/');
	/* One more, for the 0 at the end of a name. */
	place = allocate(*size + 1, (int)read_number(line));
	place[*size] = 0;
	while (**line == ',') {
		++*line;
		size_t offset = read_number(line);

		skip(line, ':');
		if (offset > *size)
			cannot_run("a definition has bytes outside of its %zu", *size);
		read_base64(line, place + offset, place + *size);
	}
	skip(line, ' ');
	return as_seen(place);
}

static const char *read_name(const char **line)
{
	size_t size;

	return (const char *)read_bytes(line, &size);
}

static const struct kvmprobe_patch *read_patches(const char **line, size_t count)
{
	struct kvmprobe_patch *patches = allocate(count * sizeof(*patches), 0);

	for (size_t i = 0; i < count; i++) {
		patches[i].offset = read_number(line);
		patches[i].bytes = read_bytes(line, &patches[i].size);
	}
	return as_seen(patches);
}

/* Reads a call; the members are in the order in which the driver writes them. */
const struct kvmprobe_call *read_call(const char *line)
{
	struct kvmprobe_call *call = allocate(sizeof(*call), 0);
	const uint8_t *input;

	call->number = (unsigned int)read_number(&line);
	call->kind = (int)read_number(&line);
	call->request = read_number(&line);
	call->argument = read_number(&line);
	call->address = read_number(&line);
	call->at_page_end = (int)read_number(&line);
	call->on = read_name(&line);
	call->binds = read_name(&line);
	call->capture = read_name(&line);
	call->memory = read_name(&line);
	call->by = read_name(&line);
	input = read_bytes(&line, &call->input_size);
	if (input)
		call->argument = (size_t)input;
	call->blank = read_bytes(&line, &call->size);
	call->pointer = read_number(&line);
	call->pointee = read_number(&line);
	call->patch_count = read_number(&line);
	call->patches = read_patches(&line, call->patch_count);
	return as_seen(call);
}
