/* What Python gives the executor, and gets from it.  Read by cffi and by the C compiler. */
enum kvmprobe_kind {
	KVMPROBE_OPEN,		/* open the device */
	KVMPROBE_CLOSE,
	KVMPROBE_IOCTL,		/* with an integer, or the address of bytes that the kernel reads */
	KVMPROBE_OUTPUT,	/* ioctl with a buffer that the kernel writes */
	KVMPROBE_CAPTURED,	/* ioctl with the output that an earlier call captured, patched */
	KVMPROBE_SLEEPING,	/* ioctl with bytes that arrive while the kernel sleeps for them */
	KVMPROBE_ARCH_PRCTL,	/* with an integer, or a buffer that the kernel writes */
	KVMPROBE_ALT_STACK,	/* sigaltstack; `argument` is its size */
	KVMPROBE_LIMIT,		/* no more descriptors */
	KVMPROBE_SPAWN,		/* `argument` is an enum kvmprobe_relation */
	KVMPROBE_MAP_PAYLOAD,
	KVMPROBE_SHARE_PAYLOAD,
	KVMPROBE_RUN,		/* KVM_RUN; its output is the exit reason */
	KVMPROBE_RUN_GUEST	/* a command of the guest payload; its output is the result block and data */
};
enum kvmprobe_relation { KVMPROBE_THREAD, KVMPROBE_FORK, KVMPROBE_SHARED_MM, KVMPROBE_EXEC };
enum kvmprobe_overrun { KVMPROBE_IN_TIME, KVMPROBE_OVERRUN_SCENARIO, KVMPROBE_OVERRUN_STEP };
enum kvmprobe_end { KVMPROBE_DONE = 0, KVMPROBE_GATED = 3, KVMPROBE_BROKEN = 4 };

/* An output that the other side knows by number. */
struct kvmprobe_known {
	struct kvmprobe_known *next;
	int number;
	const uint8_t *bytes;
};

/* Bytes written over a captured output; later ones in the list win. */
struct kvmprobe_patch {
	struct kvmprobe_patch *next;
	size_t offset;
	size_t size;
	const uint8_t *bytes;
};

/* One call.  A name is NULL where the call has none of that kind; names.c resolves them. */
struct kvmprobe_call {
	enum kvmprobe_kind kind;
	const char *on;			/* descriptor that the call is made on */
	const char *binds;		/* descriptor, memory or task that it creates */
	const char *capture;		/* output that it keeps or passes */
	const char *memory;		/* of the guest payload */
	const char *by;			/* task that makes it; NULL: the scenario's own process */
	unsigned long request;		/* of the ioctl; code of arch_prctl */
	size_t argument;		/* integer or address; immediate_exit of KVM_RUN */
	size_t input_size;		/* of the bytes at that address */
	struct kvmprobe_patch *patches;
	size_t size;			/* of the output */
	const uint8_t *blank;		/* content of the output before the call */
	uint8_t *output;
	uint8_t *last;			/* as last reported in this scenario, if `reported` */
	int reported;
	struct kvmprobe_known *known;
};

/* Descriptors of the zygote, and where it sends what scenarios report. */
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
	int gate;			/* 1: stop before a load that the last read-back shows to be fatal */
	int deadline_ms;
	int step_ms;			/* of each step; up to twice as long may pass before it is noticed */
	int steps;
	int addresses;
};

/*
 * How a scenario's process ended: `status` is as waitpid(2) returns it.  If its time or a step's has run out, the zygote
 * first sends which of them, and the process's id.
 */
struct kvmprobe_ended {
	enum kvmprobe_overrun overrun;
	int pid;
	int status;
};

/*
 * Forks a process that runs each request in a child of its own and answers it with a struct kvmprobe_ended, until the
 * end of file.  Returns its id, or -errno.
 */
int kvmprobe_zygote(const struct kvmprobe_channels *channels);

/* Copies the kernel's next message to `text` and returns its length; 0 if there is none.  See kernel_log.c. */
size_t kvmprobe_next_message(int log_fd, char *text, size_t size);

/* Whether a call loads the guest's FPU at a point where XFD disables a component of its fpstate.  See gate.c. */
int kvmprobe_load_is_fatal(uint64_t xstate_bv, uint64_t xfd, unsigned long request, const uint8_t *bytes, size_t size);

/* Memory whose end is the end of what can be accessed.  It is never freed. */
uint8_t *kvmprobe_at_page_end(size_t size);

size_t kvmprobe_payload_code_size(void);
void kvmprobe_payload_fill(uint8_t *memory);

void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size);
size_t kvmprobe_port_line(uint16_t port, char *line, size_t size);
