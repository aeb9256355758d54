/* Memory that child processes write and this one reads; it has the same offsets in each. */
static uint8_t *shared;


static int shared_memory;


#include <fcntl.h>
#include <sys/mman.h>
static void map_shared(int fd, size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd < 0 || memory == MAP_FAILED)
		cannot_run("no shared memory: %s", strerror(errno));
	shared = memory;
}


#include <fcntl.h>
#include <sys/mman.h>
static int shared_fd(size_t size)
{
	int fd = (int)syscall(SYS_memfd_create, "shared", 0);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		cannot_run("no shared memory: %s", strerror(errno));
	return fd;
}


static long call_of_task(int call);


/* Answers until the other end is closed. */
static void serve(int requests, int answers)
{
	long answer;
	int call;

	while (read(requests, &call, sizeof(call)) == sizeof(call)) {
		answer = call_of_task(call);
		if (write(answers, &answer, sizeof(answer)) != sizeof(answer))
			return;
	}
}
