/* LD_PRELOAD: the time of day jumps a day to and fro, each time that anybody asks for it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <sys/time.h>
#include <time.h>

enum { DAY = 86400 };
static atomic_long asked;

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
	int result = real(clock, now);

	if (clock == CLOCK_REALTIME)
		now->tv_sec += (atomic_fetch_add(&asked, 1) % 3 - 1) * DAY;
	return result;
}

time_t time(time_t *at)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (at)
		*at = now.tv_sec;
	return now.tv_sec;
}

int gettimeofday(struct timeval *at, void *zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*at = (struct timeval){ now.tv_sec, now.tv_nsec / 1000 };
	return 0;
}
