/*
 * First process of the emulated host: sets it up, runs one program, reports its end, powers off.
 *
 * Messages are lines on the emulator's channel (byte writes to port 0x5e0), which a kernel panic cannot lose:
 *
 *   #phase NAME        a stage of the boot begins: init, disk (if there is one), modules, wait (if it waits for input), start
 *   #module NAME HEX   where the text of a module is
 *   #nokvm TEXT        KVM could not be set up; TEXT has the failed step and the reason
 *   #exit N, #signal N how the program ended
 *   #overrun           its deadline has passed, and it is killed
 *   #failed TEXT       the program could not be started
 *   >BASE64, !BASE64   a piece of the program's standard output, standard error
 *
 * With /lab/wait, init waits for a line of the channel before the program starts ("#phase wait").  In exec mode the line can
 * have tab-separated words: the program's deadline in seconds, and what to run instead of /lab/command.
 *
 * A module gets its parameters from the kernel command line, as from modprobe: MODULE.PARAMETER[=VALUE].
 *
 * Files: /lab/modules.list (one path per line, in load order), /lab/mode ("worker" or "exec"),
 * /lab/command and /lab/environ (NUL separated).  With a disk: /lab/mount-point and
 * /lab/disk.list, like modules.list.  The disk is unmounted when the program has ended.
 *
 * In worker mode the program uses the channel from "#phase start" until it ends: it inherits I/O port
 * permission, and its standard streams are the kernel's console.
 * In exec mode its output streams are pipes.  Init runs with real-time priority, so that it forwards a write
 * to a pipe before the program's next instruction.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CHANNEL_PORT 0x5e0
#define CONTROL_PORT 0x5e1
#define CHUNK 3072 /* bytes of output per line; a multiple of three */
#define DISK "/dev/sda"
#define DISK_TRIES 500 /* of 20 ms each */
#define LAST_CHUNKS 22 /* what a full pipe may have when the program has ended */
#define MOST_WORDS 64  /* of a line of input */
#define NO_DEADLINE (-1L)

static void channel_write(const char *bytes, size_t size)
{
	asm volatile("cld; rep outsb" : "+S"(bytes), "+c"(size) : "d"((unsigned short)CHANNEL_PORT) : "memory");
}

__attribute__((format(printf, 1, 2))) static void report(const char *format, ...)
{
	char line[512];
	va_list arguments;

	va_start(arguments, format);
	int size = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (size < 0)
		return;
	if (size > (int)sizeof line - 2)
		size = sizeof line - 2;
	line[size++] = '\n';
	channel_write(line, size);
}

__attribute__((noreturn)) static void end_machine(void)
{
	outb('Q', CONTROL_PORT);
	for (;;)
		pause();
}

static void frame(char tag, const unsigned char *bytes, size_t size)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static char line[CHUNK / 3 * 4 + 8];
	size_t used = 0;

	line[used++] = tag;
	for (size_t at = 0; at < size; at += 3) {
		size_t left = size - at;
		unsigned group = bytes[at] << 16 | (left > 1 ? bytes[at + 1] << 8 : 0) | (left > 2 ? bytes[at + 2] : 0);

		line[used++] = digits[group >> 18];
		line[used++] = digits[group >> 12 & 63];
		line[used++] = left > 1 ? digits[group >> 6 & 63] : '=';
		line[used++] = left > 2 ? digits[group & 63] : '=';
	}
	line[used++] = '\n';
	channel_write(line, used);
}

/* Content of a file, NUL-terminated; NULL if it does not exist. */
static char *content(const char *path, size_t *size)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	struct stat status;

	if (file < 0 || fstat(file, &status) != 0)
		return NULL;
	char *bytes = calloc(1, status.st_size + 1);
	ssize_t got = bytes ? read(file, bytes, status.st_size) : -1;
	close(file);
	if (got < 0)
		return NULL;
	*size = got;
	return bytes;
}

/* NULL-terminated vector of the NUL-terminated strings in a file. */
static char **strings(const char *path)
{
	size_t size = 0, count = 0;
	char *bytes = content(path, &size);
	char **vector = calloc(size + 1, sizeof *vector);

	if (!vector)
		return NULL;
	for (size_t at = 0; at < size; at += strlen(bytes + at) + 1)
		vector[count++] = bytes + at;
	return vector;
}

static void mount_file_systems(void)
{
	static const struct {
		const char *type, *place;
	} mounts[] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" }, { "tmpfs", "/dev/shm" },
		{ "devpts", "/dev/pts" }, { "debugfs", "/sys/kernel/debug" },
	};

	for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
		mkdir(mounts[i].place, 0755);
		/* Errors are ignored: the kernel may lack a file system that the program does not need. */
		mount(mounts[i].type, mounts[i].place, mounts[i].type, 0, NULL);
	}
	/* Not a mount: the initramfs may have files of the user there, and is in memory anyway. */
	mkdir("/tmp", 01777);
	chmod("/tmp", 01777);
	mkdir("/run", 0755);
	symlink("/proc/self/fd", "/dev/fd");
	symlink("/proc/self/fd/0", "/dev/stdin");
	symlink("/proc/self/fd/1", "/dev/stdout");
	symlink("/proc/self/fd/2", "/dev/stderr");
}

/* Standard input is /dev/null, output and error are the kernel's console. */
static void open_standard_streams(void)
{
	int null = open("/dev/null", O_RDWR), console = open("/dev/console", O_WRONLY | O_NOCTTY);

	dup2(null, 0);
	dup2(console >= 0 ? console : null, 1);
	dup2(console >= 0 ? console : null, 2);
	if (null > 2)
		close(null);
	if (console > 2)
		close(console);
}

/* Length of the first word, which ends at a space outside of double quotes (Linux lib/cmdline.c: next_arg). */
static size_t word_length(const char *text)
{
	size_t size = 0;

	for (int quoted = 0; text[size] && (quoted || !strchr(" \n", text[size])); size++)
		quoted ^= text[size] == '"';
	return size;
}

/* True if a word is "MODULE.PARAMETER"; dash and underscore are the same (lib/params.c: parameq). */
static int is_parameter_of(const char *word, const char *module, size_t size)
{
	for (size_t at = 0; at < size; at++)
		if (word[at] != module[at] && !(strchr("-_", word[at]) && strchr("-_", module[at])))
			return 0;
	return word[size] == '.';
}

/* Parameters of a module, by the path of its file, as finit_module() takes them. */
static const char *module_parameters(const char *path)
{
	static char command_line[4096], found[sizeof command_line];
	const char *module = strrchr(path, '/') + 1;
	size_t module_size = strcspn(module, "."), used = 0;
	int file = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t got = read(file, command_line, sizeof command_line - 1);

	close(file);
	command_line[got > 0 ? got : 0] = '\0';
	for (const char *word = command_line; *word; word += strspn(word, " \n")) {
		size_t size = word_length(word);

		if (size > module_size && is_parameter_of(word, module, module_size)) {
			memcpy(found + used, word + module_size + 1, size - module_size - 1);
			used += size - module_size - 1;
			found[used++] = ' ';
		}
		word += size;
	}
	found[used] = '\0';
	return found;
}

/* Loads the modules that a file lists; returns the name of the first that fails, with errno set, or NULL. */
static const char *load_modules(const char *list_path)
{
	size_t size = 0;
	char *list = content(list_path, &size);

	for (char *path = list ? strtok(list, "\n") : NULL; path; path = strtok(NULL, "\n")) {
		int file = open(path, O_RDONLY | O_CLOEXEC);

		if (file < 0 || (syscall(SYS_finit_module, file, module_parameters(path), 0) != 0 && errno != EEXIST))
			return strrchr(path, '/') + 1;
		close(file);
	}
	return NULL;
}

static void report_modules(void)
{
	FILE *modules = fopen("/proc/modules", "re");
	unsigned long address;
	char line[512], name[64];

	while (modules && fgets(line, sizeof line, modules))
		if (sscanf(line, "%63s %*s %*s %*s %*s %lx", name, &address) == 2)
			report("#module %s %lx", name, address);
	if (modules)
		fclose(modules);
}

static int set_up_kvm(void)
{
	const char *failed = load_modules("/lab/modules.list");

	if (failed) {
		report("#nokvm %s: %s", failed, strerror(errno));
		return -1;
	}
	if (access("/dev/kvm", R_OK | W_OK) != 0) {
		report("#nokvm /dev/kvm: %s", strerror(errno));
		return -1;
	}
	return 0;
}

/* Mounts the disk; powers off on failure, since the program needs it. */
static void mount_disk(const char *place)
{
	struct timespec pause_between = { .tv_nsec = 20000000 };
	const char *failed = load_modules("/lab/disk.list");

	if (failed) {
		report("#failed disk: %s: %s", failed, strerror(errno));
		end_machine();
	}
	for (int tries = 0; access(DISK, F_OK) != 0 && tries < DISK_TRIES; tries++)
		nanosleep(&pause_between, NULL);
	if (access(DISK, F_OK) != 0)
		report("#failed no disk: does the kernel have CONFIG_PCI, CONFIG_ATA_PIIX and CONFIG_BLK_DEV_SD?");
	else if (mount(DISK, place, "ext4", MS_NOATIME, NULL) == 0)
		return;
	else if (errno == ENODEV)
		report("#failed disk: the kernel has no CONFIG_EXT4_FS");
	else
		report("#failed disk: mount: %s (see --kernel-log)", strerror(errno));
	end_machine();
}

/* Kills remaining processes first: they may have files open there. */
static void unmount_disk(const char *place)
{
	kill(-1, SIGKILL);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	sync();
	umount(place);
}

static void start_program(char **command, char **environment)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	execve(command[0], command, environment);
	dprintf(2, "kvmprobe: cannot execute %s: %s\n", command[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Forwards the content of a pipe; returns 0 at its end. */
static int forward(int pipe_end, char tag)
{
	static unsigned char chunk[CHUNK];
	ssize_t got = read(pipe_end, chunk, sizeof chunk);

	if (got > 0)
		frame(tag, chunk, got);
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Forwards both pipes until the program has ended; what its descendants write later is not waited for.
 * The deadline is in milliseconds of CLOCK_MONOTONIC; the program leads a process group.
 */
static int forward_until_end(pid_t program, int out, int err, long deadline)
{
	struct pollfd ends[2] = { { .fd = out, .events = POLLIN }, { .fd = err, .events = POLLIN } };
	sigset_t child;
	int status = 0, ended = 0;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	int children = syscall(SYS_signalfd4, -1, &child, 8, O_NONBLOCK | O_CLOEXEC);
	struct pollfd all[3];

	for (int left = 2 * LAST_CHUNKS; left > 0; left -= ended) {
		all[0] = ends[0];
		all[1] = ends[1];
		all[2] = (struct pollfd){ .fd = children, .events = POLLIN };
		long time_left = deadline == NO_DEADLINE ? -1 : deadline - milliseconds();

		if (deadline != NO_DEADLINE && time_left <= 0) {
			report("#overrun");
			kill(-program, SIGKILL);
			time_left = deadline = NO_DEADLINE;
		}
		int ready = poll(all, 3, ended ? 0 : (int)time_left);

		if (ready <= 0 && ended)
			return status;
		for (int i = 0; i < 2; i++)
			if (all[i].revents && !forward(ends[i].fd, i ? '!' : '>'))
				ends[i].fd = -1;
		if (all[2].revents) {
			char drained[1024];
			int one;
			pid_t pid;

			while (read(children, drained, sizeof drained) > 0)
				;
			while ((pid = waitpid(-1, &one, WNOHANG)) > 0)
				if (pid == program) {
					status = one;
					ended = 1;
				}
		}
	}
	return status;
}

static int run_exec(char **command, char **environment, long seconds)
{
	struct sched_param priority = { .sched_priority = 1 };
	int out[2], err[2];
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority);
	if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
		report("#failed pipe: %s", strerror(errno));
		end_machine();
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	pid_t program = fork();
	if (program == 0) {
		iopl(0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		start_program(command, environment);
	}
	close(out[1]);
	close(err[1]);
	if (program < 0) {
		report("#failed fork: %s", strerror(errno));
		end_machine();
	}
	return forward_until_end(program, out[0], err[0],
				 seconds == NO_DEADLINE ? NO_DEADLINE : milliseconds() + 1000 * seconds);
}

/*
 * Keeps a VM with one vCPU in a process of its own.  The first VM and the first vCPU without an in-kernel APIC switch static
 * keys on, and the last ones switch them off; each time the kernel patches its code, which took half of a scenario's time.
 */
static void keep_vm(void)
{
	pid_t init = getpid();

	if (fork() != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != init)
		_exit(0);
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	/* Without a VM scenarios only take longer. */
	if (ioctl(vm, KVM_CREATE_VCPU, 0) < 0)
		_exit(0);
	for (;;)
		pause();
}

static int run_worker(char **command, char **environment)
{
	int status = 0, one;

	keep_vm();
	pid_t program = fork(), pid;

	if (program == 0)
		start_program(command, environment);
	if (program < 0) {
		report("#failed fork: %s", strerror(errno));
		end_machine();
	}
	while ((pid = wait(&one)) > 0 || errno == EINTR)
		if (pid == program) {
			status = one;
			break;
		}
	return status;
}

/* Waits for a line, and takes a program's deadline and words from it; returns the command to run. */
static char **wait_for_command(char **command, long *seconds)
{
	static char line[8192], *words[MOST_WORDS + 1];
	size_t used = 0, count = 0;

	for (char byte; (byte = inb(CHANNEL_PORT)) != '\n';)
		if (used < sizeof line - 1)
			line[used++] = byte;
	char *first = strtok(line, "\t");
	if (!first)
		return command;
	*seconds = atol(first);
	while (count < MOST_WORDS && (words[count] = strtok(NULL, "\t")))
		count++;
	return words;
}

int main(void)
{
	size_t size;
	long seconds = NO_DEADLINE;

	mount_file_systems();
	open_standard_streams();
	if (iopl(3) != 0) {
		printf("kvmprobe: iopl: %s\n", strerror(errno));
		return 1; /* the kernel panics, and the reason is on the console */
	}
	report("#phase init");
	char *mode = content("/lab/mode", &size);
	char **command = strings("/lab/command"), **environment = strings("/lab/environ");
	if (!mode || !command || !command[0] || !environment) {
		report("#failed /lab is not complete");
		end_machine();
	}
	int exec_mode = strcmp(mode, "exec") == 0;
	char *mount_point = content("/lab/mount-point", &size);
	if (mount_point) {
		report("#phase disk");
		mount_disk(mount_point);
	}
	report("#phase modules");
	if (set_up_kvm() != 0 && !exec_mode)
		end_machine();
	report_modules();
	if (access("/lab/wait", F_OK) == 0) {
		report("#phase wait");
		command = wait_for_command(command, &seconds);
	}
	report("#phase start");
	int status = exec_mode ? run_exec(command, environment, seconds) : run_worker(command, environment);
	if (mount_point)
		unmount_disk(mount_point);
	tcdrain(1);
	if (WIFSIGNALED(status))
		report("#signal %d", WTERMSIG(status));
	else
		report("#exit %d", WEXITSTATUS(status));
	end_machine();
}
