/*
 * What each ioctl moves.  kvmprobe/tracer/rules.py writes the rules from kvmprobe/abi; an ioctl without one moves what its
 * number says.
 */
#include <linux/ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracing.h"

enum { MOST_RULES = 256 };

static struct rule rules[MOST_RULES];
static size_t count;

/* Returns 0 if the text is not a list of rules: "REQUEST,SENT,GOT,...;" in the order of struct rule. */
int read_rules(const char *text)
{
	int used;

	for (; *text; text += used) {
		struct rule *rule = &rules[count];

		used = 0;
		if (count == MOST_RULES ||
		    sscanf(text, "%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u;%n", &rule->request, &rule->sent, &rule->got, &rule->size,
			   &rule->entry, &rule->count_width, &rule->image, &rule->size_at, &rule->pointer_at, &rule->value,
			   &rule->value_sent, &used) != 11 || !used)
			return 0;
		count++;
	}
	return 1;
}

struct rule rule_of(uint32_t request)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (rules[i].request == request)
			return rules[i];
	return (struct rule){
		.request = request,
		.sent = !!(_IOC_DIR(request) & _IOC_WRITE),
		.got = !!(_IOC_DIR(request) & _IOC_READ),
		.size = _IOC_SIZE(request),
	};
}
