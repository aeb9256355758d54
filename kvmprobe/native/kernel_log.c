/*
 * Reads the kernel's messages from /dev/kmsg.  A record is "PREFIX,SEQUENCE,TIME,FLAGS;TEXT\n", followed by lines that
 * begin with a space.  PREFIX >> 3 is the facility: 0 for the kernel, another one for user space and so for our own marks.
 * The kernel escapes all characters except printable ASCII.
 * Documentation/ABI/testing/dev-kmsg; kernel/printk/printk.c: devkmsg_write, devkmsg_read
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session.h"

enum { LOG_RECORD = 8192, FACILITY_SHIFT = 3 };

size_t kvmprobe_next_message(int log_fd, char *text, size_t size)
{
	char record[LOG_RECORD + 1];

	while (log_fd >= 0) {
		ssize_t length = read(log_fd, record, LOG_RECORD);
		char *start;

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0 && errno == EPIPE)
			return (size_t)snprintf(text, size, "%s", LOST_RECORDS);
		if (length <= 0)
			return 0;
		record[length] = 0;
		start = strchr(record, ';');
		if (!start || strtoul(record, NULL, 10) >> FACILITY_SHIFT)
			continue;
		start++;
		start[strcspn(start, "\n")] = 0;
		return (size_t)snprintf(text, size, "%s", *start ? start : " ");
	}
	return 0;
}
