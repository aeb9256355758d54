/* Receives the driver's lines and sends ours, through pipes or the emulator's I/O port. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "session.h"

enum { FIRST_ROOM = 1 << 16 };

/* Received bytes from `start` to `end`.  Scenarios do not inherit them: that would cost each a copy of the page table. */
static char *received;
static size_t room, start, end;

static void grow(void)
{
	char *grown = received ? mremap(received, room, 2 * room, MREMAP_MAYMOVE)
			       : mmap(NULL, FIRST_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (grown == MAP_FAILED)
		cannot_run("cannot allocate memory for a line");
	room = received ? 2 * room : FIRST_ROOM;
	received = grown;
	madvise(received, room, MADV_DONTFORK);
}

/* Receives more; returns 0 at the end of the input. */
static int receive(const struct channels *channels)
{
	ssize_t got;

	if (start) {
		memmove(received, received + start, end - start);
		end -= start;
		start = 0;
	}
	if (end == room)
		grow();
	if (channels->port) {
		got = (ssize_t)port_line(channels->port, received + end, room - end);
	} else {
		do
			got = read(STDIN_FILENO, received + end, room - end);
		while (got < 0 && errno == EINTR);
	}
	if (got <= 0)
		return 0;
	end += (size_t)got;
	return 1;
}

/* Returns the next line, without its newline, until the next call; NULL at the end of the input. */
char *next_line(const struct channels *channels)
{
	size_t seen = 0;
	char *newline;

	while (!(newline = end - start > seen ? memchr(received + start + seen, '\n', end - start - seen) : NULL)) {
		seen = end - start;
		if (!receive(channels))
			return NULL;
	}
	*newline = 0;
	char *line = received + start;
	start = (size_t)(newline - received) + 1;
	return line;
}

/* Sends bytes; returns 0 if nobody receives them. */
int send_bytes(const struct channels *channels, const void *bytes, size_t size)
{
	if (!channels->port)
		return write_whole(STDOUT_FILENO, bytes, size);
	kvmprobe_port_out(channels->port, bytes, size);
	return 1;
}
