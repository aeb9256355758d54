#include <linux/userfaultfd.h>
/* A missing page, which another thread supplies while the caller sleeps in the page fault. */
struct sleeping_page {
	int fd;      /* of userfaultfd(2) */
	int stop;    /* eventfd: the call has returned */
	int procfs;  /* /proc/PID/task/TID/syscall of the caller: "running" until it is switched out */
	struct uffdio_copy copy;
};


#include <poll.h>
#include <sched.h>
/* Linux prints "running" for a thread that has not been switched out: fs/proc/base.c: proc_pid_syscall. */
static void *supply_page(void *argument)
{
	struct sleeping_page *page = argument;
	struct pollfd ready[] = { { .fd = page->fd, .events = POLLIN }, { .fd = page->stop, .events = POLLIN } };
	char first = 'r';

	while (poll(ready, 2, -1) < 0)
		;
	if (!(ready[0].revents & POLLIN))
		return NULL;
	while (pread(page->procfs, &first, 1, 0) == 1 && first == 'r')
		sched_yield();
	while (ioctl(page->fd, UFFDIO_COPY, &page->copy) < 0 && errno == EAGAIN)
		page->copy.copy = 0;
	return NULL;
}


#include <fcntl.h>
#include <sys/eventfd.h>
/* Creates pages that are missing until supply_page() copies the bytes there. */
static struct sleeping_page missing_page(const void *bytes, size_t size)
{
	size_t whole = (size + 4095) / 4096 * 4096;
	uint8_t *source = new_memory(whole), *missing = new_memory(whole);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct sleeping_page page = {
		.fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK),
		.stop = eventfd(0, EFD_CLOEXEC),
		.copy = { .dst = (uintptr_t)missing, .src = (uintptr_t)source, .len = whole },
	};
	char name[64];

	snprintf(name, sizeof(name), "/proc/self/task/%ld/syscall", (long)syscall(SYS_gettid));
	page.procfs = open(name, O_RDONLY | O_CLOEXEC);
	if (page.fd < 0 || page.stop < 0 || page.procfs < 0)
		cannot_run("a missing page needs userfaultfd(2) and %s: %s", name, strerror(errno));
	memcpy(source, bytes, size);
	range.range.start = page.copy.dst;
	range.range.len = whole;
	if (ioctl(page.fd, UFFDIO_API, &api) < 0 || ioctl(page.fd, UFFDIO_REGISTER, &range) < 0)
		cannot_run("userfaultfd(2) for page faults of the kernel: %s", strerror(errno));
	return page;
}


#include <pthread.h>
/* Makes an ioctl whose argument is a missing page, so that the caller is switched out during the ioctl. */
static long ioctl_asleep(int fd, unsigned long request, const void *bytes, size_t size)
{
	struct sleeping_page page = missing_page(bytes, size);
	uint64_t over = 1;
	pthread_t supplier;
	long result;

	if (pthread_create(&supplier, NULL, supply_page, &page) != 0)
		cannot_run("cannot create the thread that supplies the page");
	result = result_of(ioctl(fd, request, page.copy.dst));
	if (write(page.stop, &over, sizeof(over)) != sizeof(over))
		cannot_run("eventfd: %s", strerror(errno));
	pthread_join(supplier, NULL);
	close(page.procfs);
	close(page.stop);
	close(page.fd);
	return result;
}
