/* Declarations that the executor's files share. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "call.h"
#include "constants.h"
#include "executor.h"

#define BASE64_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/* How the driver is reached, and the kernel's log. */
struct channels {
	const char *device;
	uint16_t port;		/* of the emulator; 0: standard input and output */
	int log_fd;		/* /dev/kmsg, or -1 */
	int taint_fd;		/* /proc/sys/kernel/tainted, or -1 */
};

/* The names of one kind that a scenario has bound; the place of a name is its index in the session's array. */
struct names {
	const char *kind;
	int most;
	int count;
	const char *bound[MOST_NAMES];
};

struct descriptor {
	int fd;			/* -1 if closed */
	void *run_area;		/* struct kvm_run, of a vCPU */
	uint64_t xstate_bv;	/* of a vCPU, as last read back */
	uint64_t xfd;
};

struct session {
	struct channels channels;
	int gate;
	size_t run_size;
	struct names descriptor_names, capture_names, memory_names, task_names;
	struct descriptor descriptors[MOST_DESCRIPTORS];
	const struct kvmprobe_call *captures[MOST_CAPTURES];
	uint8_t *memories[MOST_MEMORIES];
};

/* The argument of a call: an integer, or the address and size of its bytes. */
struct input {
	size_t argument;
	size_t size;
};

/* The result of a call that the gate stopped.  No errno is that large. */
#define STOPPED (-4096L)

/* report.c: faults of the executor itself. */
void share_report(void);
void clear_report(void);
void begin_step(int number);
int begun_steps(void);
const char *broken_because(void);
void report_own_faults(void);
__attribute__((format(printf, 1, 2), noreturn)) void cannot_run(const char *format, ...);

/* arena.c: memory for definitions. */
void make_arena(void);
void *allocate(size_t size, int fill);
void *as_seen(const void *place);
void empty_arena(void);

/* wire.c: what the driver sends. */
void prepare_base64(void);
size_t read_number(const char **line);
const uint8_t *read_bytes(const char **line, size_t *size);
const struct kvmprobe_call *read_call(const char *line);

/* channel.c, port.c: lines from the driver, bytes to it. */
char *next_line(const struct channels *channels);
int send_bytes(const struct channels *channels, const void *bytes, size_t size);
size_t port_line(uint16_t port, char *line, size_t size);
int port_save(uint16_t control_port);

/* line.c: one line of JSON to the driver. */
void line_raw(const char *text);
void line_number(long number);
void line_text(const char *text);
void line_bytes(const uint8_t *bytes, size_t size);
int line_send(const struct channels *channels);

/* known.c: outputs that the driver knows by number. */
void share_known_outputs(void);
void forget_outputs(void);
uint32_t known_number(const struct kvmprobe_call *call);
uint32_t new_number(const struct kvmprobe_call *call);
void outputs_are_reported(void);

/* names.c */
struct descriptor *descriptor_of(struct session *session, const struct kvmprobe_call *call);
struct descriptor *vcpu_of(struct session *session, const struct kvmprobe_call *call);
struct descriptor *bind_descriptor(struct session *session, const char *name, int fd);
uint8_t **memory_of(struct session *session, const char *name);
uint8_t **bind_memory(struct session *session, const char *name);
int task_of(const struct session *session, const char *name);
int bind_task(struct session *session, const char *name);
void capture(struct session *session, const struct kvmprobe_call *call);
const struct kvmprobe_call *captured_by(const struct session *session, const char *name);

/* gate.c */
void note_read_back(struct descriptor *vcpu, const struct kvmprobe_call *call, long result);
int is_fatal(const struct descriptor *vcpu, const struct kvmprobe_call *call, const struct input *input);

/* kernel_calls.c */
long perform(struct session *session, const struct kvmprobe_call *call, const struct input *input);

/* live.c, live_changes.c: calls with live registers. */
void use_registers(int wanted);
void prepare_registers(const struct kvmprobe_call *call);
int kernel_ioctl(int fd, unsigned long request, size_t argument);
long kernel_arch_prctl(int code, size_t argument);
void share_changes(void);
void begin_call(int position);
void line_changes(void);

/* competitor.c: a task that competes for the CPU. */
void start_competitor(void);
void let_compete(void);
void meet_competitor(void);
void line_rounds(void);

/* moves.c: the CPU of each call. */
void move_between_cpus(void);
void move_on(void);

/* guest_calls.c */
long map_payload_of(int vm, uint8_t **memory);
long share_payload_of(int vm, uint8_t *memory);
long run_command(struct descriptor *vcpu, uint8_t *memory, const struct kvmprobe_call *call);

/* tasks.c */
int read_whole(int fd, void *buffer, size_t size);
int write_whole(int fd, const void *buffer, size_t size);
long spawn(struct session *session, const struct kvmprobe_call *call);
long go_on(const struct session *session);
long perform_in_task(struct session *session, const struct kvmprobe_call *call, const struct input *input);

/* local.c */
void make_local(const struct kvmprobe_call **calls, size_t count);

/* scenario.c */
void line_log(int log_fd);
int run_scenario(struct session *session, long number, const struct kvmprobe_call **calls, size_t first, size_t steps);

/* zygote.c, branch.c */
size_t read_steps(const char *line, const struct kvmprobe_call **read, size_t *count);
int run_branch(struct session *session, long number, const struct kvmprobe_call **calls, size_t steps);
