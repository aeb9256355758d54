/* A system call's result, or -errno. */
static long result_of(long returned)
{
	return returned < 0 ? -errno : returned;
}


#include <sys/mman.h>
static uint8_t *new_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		cannot_run("mmap of %zu bytes: %s", size, strerror(errno));
	return memory;
}


#include <sys/mman.h>
/* Returns `size` bytes that end directly before inaccessible memory. */
static uint8_t *at_page_end(size_t size)
{
	size_t whole = (size + 4095) / 4096 * 4096;
	uint8_t *memory = new_memory(whole + 4096);

	if (mprotect(memory + whole, 4096, PROT_NONE) < 0)
		cannot_run("mprotect: %s", strerror(errno));
	return memory + whole - size;
}


#include <fcntl.h>
static long open_kvm(const char *device)
{
	return result_of(open(device, O_RDWR | O_CLOEXEC));
}


#include <sys/mman.h>
static struct kvm_run *map_run_area(int vcpu, size_t size)
{
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);

	return area == MAP_FAILED ? NULL : area;
}


#include <signal.h>
/* The memory is not freed, because a signal could use it. */
static long set_alt_stack(size_t size)
{
	stack_t stack = { .ss_size = size };

	stack.ss_sp = new_memory(size ? size : 1);
	return result_of(syscall(SYS_sigaltstack, &stack, NULL));
}


#include <fcntl.h>
#include <sys/resource.h>
/* Lets this process open no more descriptors. */
static long limit_descriptors(void)
{
	struct rlimit limit;
	int lowest = open("/", O_RDONLY | O_CLOEXEC);

	if (lowest < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	close(lowest);
	limit.rlim_cur = (rlim_t)lowest;
	return result_of(setrlimit(RLIMIT_NOFILE, &limit));
}
