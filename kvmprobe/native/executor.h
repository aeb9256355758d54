/* The interface between Python and the executor.  Read by cffi and by the C compiler. */
enum kvmprobe_kind {
	KVMPROBE_OPEN,		/* open the device */
	KVMPROBE_CLOSE,
	KVMPROBE_IOCTL,		/* with an integer, or the address of bytes that the kernel reads */
	KVMPROBE_OUTPUT,	/* ioctl with a buffer that the kernel writes */
	KVMPROBE_CAPTURED,	/* ioctl with the output that an earlier call captured, patched */
	KVMPROBE_SLEEPING,	/* ioctl with bytes that arrive while the kernel sleeps in the page fault */
	KVMPROBE_ARCH_PRCTL,	/* with an integer, or a buffer that the kernel writes */
	KVMPROBE_ALT_STACK,	/* sigaltstack; `argument` is its size */
	KVMPROBE_LIMIT,		/* let the process open no more descriptors */
	KVMPROBE_SPAWN,		/* `argument` is an enum kvmprobe_relation */
	KVMPROBE_MAP_PAYLOAD,
	KVMPROBE_SHARE_PAYLOAD,
	KVMPROBE_RUN,		/* KVM_RUN; its output is the exit reason */
	KVMPROBE_RUN_GUEST	/* a command of the guest payload; its output is the result block and data */
};
enum kvmprobe_relation { KVMPROBE_THREAD, KVMPROBE_FORK, KVMPROBE_SHARED_MM, KVMPROBE_EXEC };
enum kvmprobe_overrun { KVMPROBE_IN_TIME, KVMPROBE_OVERRUN_SCENARIO, KVMPROBE_OVERRUN_STEP };
enum kvmprobe_end { KVMPROBE_DONE = 0, KVMPROBE_GATED = 3, KVMPROBE_BROKEN = 4 };

/* An output that the driver knows by number. */
struct kvmprobe_known {
	struct kvmprobe_known *next;
	int number;
	const uint8_t *bytes;
};

/* Bytes that replace bytes of a captured output; a later patch in the list wins. */
struct kvmprobe_patch {
	struct kvmprobe_patch *next;
	size_t offset;
	size_t size;
	const uint8_t *bytes;
};

/* One call.  A name is NULL if the call has none of that kind; names.c resolves names. */
struct kvmprobe_call {
	enum kvmprobe_kind kind;
	const char *on;			/* descriptor that the call is made on */
	const char *binds;		/* descriptor, memory or task that it creates */
	const char *capture;		/* output that it stores or passes */
	const char *memory;		/* of the guest payload */
	const char *by;			/* task that makes it; NULL: the scenario's own process */
	unsigned long request;		/* of the ioctl; code of arch_prctl */
	size_t argument;		/* integer or address; immediate_exit of KVM_RUN */
	size_t input_size;		/* of the bytes at that address */
	struct kvmprobe_patch *patches;
	size_t size;			/* of the output */
	const uint8_t *blank;		/* content of the output before the call */
	uint8_t *output;
	uint8_t *last;			/* output as last reported in this scenario, if `reported` */
	int reported;
	struct kvmprobe_known *known;
};

/* The zygote's descriptors, and where scenarios report their results. */
struct kvmprobe_channels {
	const char *device;
	int log_fd;			/* /dev/kmsg, or -1 */
	int out_fd;			/* -1: out_port */
	uint16_t out_port;
	int requests;
	int answers;
	int others[2];			/* the worker's ends of these two, which the zygote closes */
};

/* One scenario; the addresses of its calls follow, with a NULL after each step. */
struct kvmprobe_request {
	int number;
	int gate;			/* 1: stop before a guest-FPU load that is fatal by the last read-back */
	int deadline_ms;
	int step_ms;			/* of each step; noticed after at most twice that time */
	int steps;
	int addresses;
};

/*
 * How a scenario's process ended; `status` is as waitpid(2) returns it.  After a missed deadline the zygote first sends one
 * with `overrun` and the process's id, and a second one when the process has ended.
 */
struct kvmprobe_ended {
	enum kvmprobe_overrun overrun;
	int pid;
	int status;
};

/*
 * Forks the zygote, which runs each request in a new child and answers it with a struct kvmprobe_ended, until end of file.
 * Returns its process id, or -errno.
 */
int kvmprobe_zygote(const struct kvmprobe_channels *channels);

/* Copies the kernel's next message to `text` and returns its length; 0 if there is none.  See kernel_log.c. */
size_t kvmprobe_next_message(int log_fd, char *text, size_t size);

/* Returns 1 if a call loads the guest's FPU state while XFD disables a component in it.  See gate.c. */
int kvmprobe_load_is_fatal(uint64_t xstate_bv, uint64_t xfd, unsigned long request, const uint8_t *bytes, size_t size);

/* Returns memory that ends where accessible memory ends.  It is never freed. */
uint8_t *kvmprobe_at_page_end(size_t size);

size_t kvmprobe_payload_code_size(void);
void kvmprobe_payload_fill(uint8_t *memory);

void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size);
size_t kvmprobe_port_line(uint16_t port, char *line, size_t size);
int kvmprobe_port_save(uint16_t control_port);
