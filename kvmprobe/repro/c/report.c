static int checks;


static int mismatches;


static const char *last_call = "";


static char first_mismatch[512];


#include <stdarg.h>
/* Prints what differs in the result of the last call.  The last line of the program repeats the first mismatch. */
__attribute__((format(printf, 1, 2))) static void mismatch(const char *format, ...)
{
	char text[160];
	va_list values;

	va_start(values, format);
	vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	printf("    MISMATCH: %s\n", text);
	if (!first_mismatch[0])
		snprintf(first_mismatch, sizeof(first_mismatch), "; first: %.300s: %s", last_call, text);
}


static int verdict(void)
{
	printf("%s: %d of %d checks failed%s\n", mismatches ? "REPRODUCED" : "not reproduced", mismatches, checks,
	       first_mismatch);
	return mismatches ? REPRODUCED : NOT_REPRODUCED;
}


#include <stdarg.h>
__attribute__((format(printf, 1, 2), noreturn)) static void cannot_run(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	fputs("cannot run here: ", stdout);
	vprintf(format, values);
	putchar('\n');
	va_end(values);
	exit(CANNOT_RUN);
}


/* Ends the program before a call that would make no sense. */
__attribute__((noreturn)) static void give_up(const char *why)
{
	printf("ended early: %s%s\n", why, first_mismatch);
	exit(mismatches ? REPRODUCED : CANNOT_RUN);
}


static void show(const char *call, long seen)
{
	last_call = call;
	if (seen == STOPPED) {
		printf("%s: not made, because it loads a component that XFD disables and can panic this host; use --go-on\n",
		       call);
		exit(verdict());
	}
	if (seen < 0)
		printf("%s = %ld (%s)\n", call, seen, strerror((int)-seen));
	else
		printf("%s = %ld\n", call, seen);
}


static int check(const char *call, long seen, long wanted)
{
	show(call, seen);
	checks++;
	if (seen == wanted)
		return 1;
	mismatches++;
	mismatch("expected %ld%s%s%s", wanted, wanted < 0 ? " (" : "", wanted < 0 ? strerror((int)-wanted) : "",
		 wanted < 0 ? ")" : "");
	return 0;
}


static void check_descriptor(const char *call, long seen)
{
	if (seen >= 0)
		printf("%s = a descriptor\n", call);
	else
		show(call, seen);
	checks++;
	if (seen >= 0)
		return;
	mismatches++;
	mismatch("expected a descriptor");
}


/* Bits in `open` are unspecified. */
static void expect_value(const char *name, uint64_t seen, uint64_t wanted, uint64_t open)
{
	printf("    %s = %#llx\n", name, (unsigned long long)seen);
	checks++;
	if (((seen ^ wanted) & ~open) == 0)
		return;
	mismatches++;
	mismatch("%s is %#llx, expected %#llx", name, (unsigned long long)seen, (unsigned long long)wanted);
}


#include <signal.h>
/* Ends a program that hangs, also in KVM_RUN.  A mismatch found before counts as reproduced. */
static char too_late[96];

static void time_is_up(int number)
{
	(void)number;
	if (write(STDOUT_FILENO, too_late, strlen(too_late)) < 0)
		_exit(CANNOT_RUN);
	_exit(mismatches ? REPRODUCED : CANNOT_RUN);
}

static void end_within(unsigned int seconds, const char *otherwise)
{
	snprintf(too_late, sizeof(too_late), "%s within %u s\n", otherwise, seconds);
	signal(SIGALRM, time_is_up);
	alarm(seconds);
}
