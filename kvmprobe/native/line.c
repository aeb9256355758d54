/* Builds one line of JSON, of any length, and sends it in one piece. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

static char first[1 << 16], *line = first;
static size_t length, room = sizeof(first);

static char *reserve(size_t size)
{
	if (room - length < size) {
		size_t wanted = 2 * (length + size);
		char *grown = realloc(line == first ? NULL : line, wanted);

		if (!grown)
			cannot_run("cannot allocate a line of %zu bytes", wanted);
		if (line == first)
			memcpy(grown, first, length);
		line = grown;
		room = wanted;
	}
	return line + length;
}

static void append(const char *bytes, size_t size)
{
	memcpy(reserve(size), bytes, size);
	length += size;
}

/* Appends text as it is. */
void line_raw(const char *text)
{
	append(text, strlen(text));
}

static void append_number(unsigned long number, unsigned int base)
{
	char digits[24], *start = digits + sizeof(digits);

	do
		*--start = "0123456789abcdef"[number % base];
	while (number /= base);
	append(start, (size_t)(digits + sizeof(digits) - start));
}

void line_number(long number)
{
	if (number < 0)
		line_raw("-");
	append_number(number < 0 ? -(unsigned long)number : (unsigned long)number, 10);
}

/* Appends text with the escapes of a JSON string. */
void line_text(const char *text)
{
	char *end = reserve(6 * strlen(text) + 1), *start = end;

	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			*end++ = '\\';
		if ((unsigned char)*text < ' ')
			end += sprintf(end, "\\u%04x", *text);
		else
			*end++ = *text;
	}
	length += (size_t)(end - start);
}

static void append_base64(const uint8_t *bytes, size_t size)
{
	char *end = reserve((size + 2) / 3 * 4);

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);

		*end++ = BASE64_DIGITS[three >> 18];
		*end++ = BASE64_DIGITS[three >> 12 & 63];
		*end++ = left > 1 ? BASE64_DIGITS[three >> 6 & 63] : '=';
		*end++ = left > 2 ? BASE64_DIGITS[three & 63] : '=';
	}
	length += (size + 2) / 3 * 4;
}

/* The number of bytes from `start` that are 0, in steps of eight and up to the end. */
static size_t zeros_at(const uint8_t *bytes, size_t start, size_t size)
{
	size_t at = start;
	uint64_t eight;

	for (; at + sizeof(eight) <= size; at += sizeof(eight)) {
		memcpy(&eight, bytes + at, sizeof(eight));
		if (eight)
			return at - start;
	}
	while (at < size && !bytes[at])
		at++;
	return at == size ? size - start : at / 8 * 8 - start;
}

/* Appends bytes in the form that wire.c describes, filled with 0. */
void line_bytes(const uint8_t *bytes, size_t size)
{
	enum { WORTHWHILE = 16 };

	append_number(size, 16);
	for (size_t at = zeros_at(bytes, 0, size), end; at < size; at = end) {
		size_t zeros = 0, start = at;

		for (end = at; end < size; end += 8) {
			zeros = zeros_at(bytes, end, size);
			if (zeros >= WORTHWHILE || end + zeros == size)
				break;
		}
		if (end > size)
			end = size;
		line_raw(",");
		append_number(start, 16);
		line_raw(":");
		append_base64(bytes + start, end - start);
		end += zeros;
	}
}

/* Sends the line and starts a new one; returns 0 if it cannot be sent. */
int line_send(const struct channels *channels)
{
	int sent;

	line_raw("\n");
	sent = send_bytes(channels, line, length);
	length = 0;
	return sent;
}
