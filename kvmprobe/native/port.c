/* The emulator's I/O port: what is written leaves the guest at once, even if the kernel dies. */
#include <sys/io.h>

#include "session.h"

void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size)
{
	asm volatile("rep outsb" : "+S"(bytes), "+c"(size) : "d"(port) : "memory");
}

/* Reads up to a newline, which is part of the line, or a 0, which is not, or `size` bytes; returns the length. */
size_t port_line(uint16_t port, char *line, size_t size)
{
	size_t length = 0;

	while (length < size && (line[length] = (char)inb(port)) != 0)
		if (line[length++] == '\n')
			break;
	return length;
}

/* Lets the emulator save the machine's state, if it wants to: returns 'S' when saved, 'R' in a restored machine, 'E' if not. */
int port_save(uint16_t control_port)
{
	int status;

	outb('S', control_port);
	while ((status = inb(control_port)) == 0)
		;
	return status;
}
