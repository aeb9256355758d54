/*
 * Memory for definitions.  Scenarios see it through a private mapping of a file, to which only another mapping writes: fork()
 * does not copy the page table of such a mapping, and what a scenario, or the kernel on its behalf, writes to a page is not
 * seen by the next one.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "session.h"

static uint8_t *seen, *written;
static size_t used;

void make_arena(void)
{
	int fd = (int)syscall(SYS_memfd_create, "kvmprobe-calls", 1 /* MFD_CLOEXEC */);

	if (fd < 0 || ftruncate(fd, ARENA_SIZE) < 0)
		cannot_run("cannot create a file in memory");
	seen = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	written = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (seen == MAP_FAILED || written == MAP_FAILED)
		cannot_run("cannot map memory for calls");
	madvise(written, ARENA_SIZE, MADV_DONTFORK);
	close(fd);
}

/* Returns memory to write to, filled with a byte; scenarios read it at as_seen(). */
void *allocate(size_t size, int fill)
{
	uint8_t *place = written + used;

	size = (size + 15) / 16 * 16;
	if (size > ARENA_SIZE - used)
		cannot_run("the calls need more than %d bytes", ARENA_SIZE);
	used += size;
	return memset(place, fill, size);
}

void *as_seen(const void *place)
{
	return seen + ((const uint8_t *)place - written);
}

void empty_arena(void)
{
	used = 0;
}
