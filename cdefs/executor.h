/* A scenario's calls in the form that executor.c issues; read by cffi and by the C compiler. */
enum kvmprobe_kind {
    KVMPROBE_OPEN,         /* open the session's device */
    KVMPROBE_CLOSE,
    KVMPROBE_IOCTL,        /* with an integer, or the address of bytes that the kernel reads */
    KVMPROBE_OUTPUT,       /* ioctl with a buffer that the kernel writes */
    KVMPROBE_CAPTURED,     /* ioctl with the output that an earlier call captured, patched */
    KVMPROBE_SLEEPING,     /* ioctl with bytes that come when the kernel already sleeps for them */
    KVMPROBE_ARCH_PRCTL,   /* with an integer, or a buffer that the kernel writes */
    KVMPROBE_ALT_STACK,    /* sigaltstack; `argument` is its size */
    KVMPROBE_LIMIT,        /* no more descriptors */
    KVMPROBE_SPAWN,        /* `argument` is an enum kvmprobe_relation */
    KVMPROBE_MAP_PAYLOAD,
    KVMPROBE_SHARE_PAYLOAD,
    KVMPROBE_RUN,          /* KVM_RUN; its output is the exit reason */
    KVMPROBE_RUN_GUEST     /* a command of the guest payload; its output the result block and data */
};
enum kvmprobe_relation { KVMPROBE_THREAD, KVMPROBE_FORK, KVMPROBE_SHARED_MM, KVMPROBE_EXEC };
enum kvmprobe_overrun { KVMPROBE_IN_TIME, KVMPROBE_OVERRUN_SCENARIO, KVMPROBE_OVERRUN_STEP };
enum kvmprobe_end { KVMPROBE_DONE = 0, KVMPROBE_GATED = 3, KVMPROBE_BROKEN = 4 };
enum kvmprobe_limit {
    KVMPROBE_DESCRIPTORS = 32,
    KVMPROBE_CAPTURES = 64,
    KVMPROBE_MEMORIES = 8,
    KVMPROBE_TASKS = 8,
    KVMPROBE_ADDRESSES = 4096
};

/* An output that the other side knows by number. */
struct kvmprobe_known {
    struct kvmprobe_known *next;
    int number;
    const uint8_t *bytes;
};

/* Bytes over a captured output; later ones in the list win. */
struct kvmprobe_patch {
    struct kvmprobe_patch *next;
    size_t offset;
    size_t size;
    const uint8_t *bytes;
};

/* Descriptors, captures, memories and tasks are numbers below the limits; -1 is none. */
struct kvmprobe_call {
    enum kvmprobe_kind kind;
    int on;
    int binds;
    int capture;
    int memory;
    int by;                  /* -1: the scenario's own process */
    unsigned long request;   /* of the ioctl; code of arch_prctl */
    size_t argument;         /* integer or address; immediate_exit of KVM_RUN */
    size_t input_size;       /* of the bytes at that address */
    struct kvmprobe_patch *patches;
    size_t size;             /* of the output */
    const uint8_t *blank;    /* what it begins as */
    uint8_t *output;
    uint8_t *last;           /* what was told of it before in this scenario, if `told` */
    int told;
    struct kvmprobe_known *known;
};

/* Who makes calls in the scenario's stead, and the pipes to it. */
struct kvmprobe_task {
    enum kvmprobe_relation relation;
    int pid;                 /* 0 if there is none */
    int process;             /* pidfd, or -1 for a thread */
    int requests;
    int answers;
};

struct kvmprobe_session {
    const char *device;
    int log_fd;                /* /dev/kmsg, or -1 */
    int out_fd;                /* -1: the port */
    uint16_t out_port;
    int hold;
    int fds[32];               /* all -1 */
    uint8_t *run_areas[32];
    unsigned long long xstate_bv[32];   /* of a vCPU, as last read back */
    unsigned long long xfd[32];
    const struct kvmprobe_call *captured[64];
    size_t run_size;
    uint8_t *memories[8];      /* of the guest payload */
    struct kvmprobe_task tasks[8];
    int *begun;                /* steps that a scenario has begun; shared with its process */
};

/* One scenario; the addresses of its calls follow, with a NULL behind each step. */
struct kvmprobe_request {
    int number;
    int hold;                  /* stop before a load that the last read-back shows to be fatal */
    int deadline_ms;
    int step_ms;               /* of each step; one may take up to twice that before it is seen */
    int steps;
    int addresses;
};

/* How a scenario's process ended: `status` as waitpid(2) tells it.  Before that, if its time or a step's is up: which, and
 * its id. */
struct kvmprobe_ended {
    enum kvmprobe_overrun late;
    int pid;
    int status;
};
