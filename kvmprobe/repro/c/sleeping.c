#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
/* A page that another thread gives when the calling one sleeps for it in the kernel. */
struct late_page {
	int fd;      /* of userfaultfd(2) */
	int procfs;  /* tells what the caller does: "running", until it is switched out */
	struct uffdio_copy copy;
};


#include <poll.h>
#include <pthread.h>
static void *give_page(void *argument)
{
	struct late_page *page = argument;
	struct pollfd ready = { .fd = page->fd, .events = POLLIN };
	char first = 'r';

	if (poll(&ready, 1, 5000) != 1)
		return NULL;
	while (pread(page->procfs, &first, 1, 0) == 1 && first == 'r')
		sched_yield();
	while (ioctl(page->fd, UFFDIO_COPY, &page->copy) < 0 && errno == EAGAIN)
		page->copy.copy = 0;
	return NULL;
}


#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
/* An ioctl whose bytes come when the kernel already sleeps for them: the caller is switched out within it. */
static long ioctl_asleep(int fd, unsigned long request, const void *bytes, size_t size)
{
	struct late_page page = { .fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK) };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	uint8_t *source = new_memory(4096), *missing = new_memory(4096);
	pthread_t giver;
	char name[64];
	long result;

	snprintf(name, sizeof(name), "/proc/self/task/%ld/syscall", (long)syscall(SYS_gettid));
	page.procfs = open(name, O_RDONLY | O_CLOEXEC);
	memcpy(source, bytes, size);
	range.range.start = (uintptr_t)missing;
	range.range.len = 4096;
	page.copy = (struct uffdio_copy){ .dst = (uintptr_t)missing, .src = (uintptr_t)source, .len = 4096 };
	if (page.fd < 0 || page.procfs < 0 || ioctl(page.fd, UFFDIO_API, &api) < 0
	    || ioctl(page.fd, UFFDIO_REGISTER, &range) < 0 || pthread_create(&giver, NULL, give_page, &page) != 0)
		cannot_run("userfaultfd(2) of faults in the kernel: %s", strerror(errno));
	result = result_of(ioctl(fd, request, missing));
	pthread_join(giver, NULL);
	close(page.procfs);
	close(page.fd);
	return result;
}
