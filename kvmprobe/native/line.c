/* Builds one line of JSON, of any length, and sends it in one piece. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

static char *line;
static size_t length, room;

static char *reserve(size_t size)
{
	if (room - length < size) {
		size_t wanted = 2 * (length + size);
		char *grown = realloc(line, wanted);

		if (!grown)
			cannot_run("cannot allocate a line of %zu bytes", wanted);
		line = grown;
		room = wanted;
	}
	return line + length;
}

/* Appends at most 255 characters; for longer texts see the functions below. */
void line_printf(const char *format, ...)
{
	char *end = reserve(256);
	va_list values;

	va_start(values, format);
	length += (size_t)vsnprintf(end, 256, format, values);
	va_end(values);
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

void line_base64(const uint8_t *bytes, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *end = reserve((size + 2) / 3 * 4);

	for (size_t i = 0; i < size; i += 3) {
		size_t left = size - i;
		uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);

		*end++ = digits[three >> 18];
		*end++ = digits[three >> 12 & 63];
		*end++ = left > 1 ? digits[three >> 6 & 63] : '=';
		*end++ = left > 2 ? digits[three & 63] : '=';
	}
	length += (size + 2) / 3 * 4;
}

/* Sends the line and starts a new one; returns 0 if it cannot be sent. */
int line_send(const struct kvmprobe_channels *channels)
{
	int sent = 1;

	line_printf("\n");
	if (channels->out_fd < 0)
		kvmprobe_port_out(channels->out_port, line, length);
	else
		sent = write_whole(channels->out_fd, line, length);
	length = 0;
	return sent;
}
