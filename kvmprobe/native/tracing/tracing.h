/*
 * The recorder: a program that traces another one and reports its KVM calls as events (kvmprobe/abi/recorder.py) on a pipe.
 */
#ifndef KVMPROBE_TRACING_H
#define KVMPROBE_TRACING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "constants.h"

/* Non-KVM calls that a thread is followed for: after a call on a vCPU, from its birth, and after a KVM_RUN that was recorded. */
enum { FOLLOW_CALL = 24, FOLLOW_BIRTH = 24, FOLLOW_RUN = 8 };

/* System calls of other ABIs: asm/unistd_32.h, asm/unistd_x32.h. */
enum { X32 = 0x40000000, I386_IOCTL = 54, X32_IOCTL = 514 };

/* What an ioctl moves; rules.c reads them from the command line. */
struct rule {
	uint32_t request;
	uint32_t sent, got;		/* 1 if the call reads or writes its structure */
	uint32_t size;			/* of the structure; of a table, its head */
	uint32_t entry, count_width;	/* of a table: bytes of an entry, of the count at its start */
	uint32_t image;			/* 1 if it is an XSAVE image: image_size bytes */
	uint32_t size_at;		/* offset of a member with the size of all, or 0 */
	uint32_t pointer_at;		/* offset of a pointer to a value, or 0 */
	uint32_t value;			/* bytes of the value; 0 if the register's id says it */
	uint32_t value_sent;		/* 1 if the call reads the value, 0 if it writes it */
};

struct buffer {
	uint8_t *bytes;
	size_t used, room;
};

/* A call between its entry and its return. */
struct call {
	uint32_t kind;			/* TRACE_CALLED, TRACE_PERMISSION or TRACE_RAN */
	int fd, on_vcpu, by_itself;
	uint64_t number, argument, began;
	struct rule rule;
	uint32_t count;			/* of a table, at the entry */
	uint64_t area;			/* address of struct kvm_run, or 0 */
	uint32_t area_error;
};

struct vcpu {
	pid_t tgid;
	int fd;
	int changed;			/* a call came after the last KVM_RUN */
	int unseen;			/* its thread runs without being followed */
	pid_t runner;
	uint64_t runs;			/* that were seen and not reported */
	struct vcpu *next;
};

struct thread {
	pid_t tid, tgid;
	int announced;			/* its parent's stop was seen */
	int held;			/* it waits for that */
	int within;			/* a call is under way */
	int follow;			/* non-KVM calls that are left to stop at */
	struct call call;
	struct buffer event;
	struct thread *next;
};

enum mode { STARTED, ATTACHED };

struct session {
	enum mode mode;
	int recording;			/* 0: calls pass without being reported */
	int detaching;
	int stop_requested;		/* by SIGTERM */
	uint64_t order;
	uint32_t image_size, image_size_permitted;
	pid_t command;
	int status;			/* of the command */
	pid_t *traced;			/* TRACED_MOST process ids, shared with the guard; 0 is free */
};

enum { TRACED_MOST = 4096 };

extern struct session session;

/* events.c */
void open_events(int fd);
void flush_events(void);
void begin_event(struct buffer *event, uint32_t kind, pid_t tid, pid_t tgid);
void add_part(struct buffer *event, uint32_t role, const void *bytes, size_t size, size_t wanted, int error);
void finish_event(struct buffer *event, uint64_t began, int fd, uint32_t number, uint64_t argument, int64_t result);
void report(uint32_t kind, pid_t tid, pid_t tgid, uint32_t number, uint64_t argument);
void report_program(uint32_t kind, pid_t tgid, uint32_t number);

/* rules.c */
int read_rules(const char *text);
struct rule rule_of(uint32_t request);

/* memory.c */
size_t read_memory(pid_t tgid, uint64_t address, void *bytes, size_t size, int *error);
void add_structure(struct buffer *event, pid_t tgid, struct call *call, int returned);
void add_value(struct buffer *event, pid_t tgid, const struct call *call, int returned);
int link_of(pid_t tgid, int fd, char *text, size_t size);

/* run_area.c */
void find_area(struct call *call, pid_t tgid, const char *link);
void add_area(struct buffer *event, pid_t tgid, const struct call *call, uint32_t role);

/* vcpus.c */
struct vcpu *vcpu_of(pid_t tgid, int fd);
int has_vcpus(pid_t tgid);
void forget_vcpus(pid_t tgid);
void renew_vcpu(pid_t tgid, int fd);
void lose_sight(pid_t tgid, pid_t runner);
void forget_runner(pid_t tgid, pid_t runner);
void report_runs(struct vcpu *vcpu, pid_t tid);

/* calls.c */
int enter_call(struct thread *thread, uint32_t arch, uint64_t number, const uint64_t *arguments);
void return_from_call(struct thread *thread, int64_t result);
void end_within_call(struct thread *thread);

/* threads.c */
struct thread *thread_of(pid_t tid);
struct thread *new_thread(pid_t tid);
void drop_thread(struct thread *thread);
struct thread *first_thread(void);
struct thread *next_thread(struct thread *thread);
pid_t tgid_of(pid_t tid);
void note_process(pid_t tgid, int present);

/* start.c */
void start(char **command);
int exec_error(void);
void leave_terminal(void);

/* attach.c */
int seize(pid_t tid);
int seize_all(pid_t pid);
void attach(pid_t pid);

/* stops.c */
void follow_stops(void);
void stop_recording(void);
void end_recording(void);

#endif
