/* A scenario's calls in the form that executor.c issues; read by cffi and by the C compiler. */
enum kvmprobe_kind {
    KVMPROBE_OPEN,       /* open the session's device */
    KVMPROBE_IOCTL,      /* with an integer, or the address of bytes that the kernel reads */
    KVMPROBE_OUTPUT,     /* ioctl with a buffer that the kernel writes */
    KVMPROBE_CAPTURED,   /* ioctl with the output that an earlier call captured */
    KVMPROBE_ARCH_PRCTL,
    KVMPROBE_RUN         /* KVM_RUN; its output is the exit reason */
};
enum kvmprobe_end { KVMPROBE_DONE = 0, KVMPROBE_HELD = 3, KVMPROBE_BROKEN = 4 };
enum kvmprobe_limit { KVMPROBE_DESCRIPTORS = 16, KVMPROBE_CAPTURES = 8, KVMPROBE_ADDRESSES = 4096 };

/* An output that the other side knows by number. */
struct kvmprobe_known {
    struct kvmprobe_known *next;
    int number;
    const uint8_t *bytes;
};

/* Descriptors and captures are numbers below the limits; -1 is none. */
struct kvmprobe_call {
    enum kvmprobe_kind kind;
    int on;
    int binds;
    int capture;
    unsigned long request;   /* of the ioctl; code of arch_prctl */
    size_t argument;         /* immediate_exit of KVM_RUN */
    size_t size;             /* of the output */
    const uint8_t *blank;    /* what it begins as */
    uint8_t *output;
    uint8_t *last;           /* what was told of it before in this scenario, if `told` */
    int told;
    struct kvmprobe_known *known;
};

struct kvmprobe_session {
    const char *device;
    int log_fd;                /* /dev/kmsg, or -1 */
    int out_fd;                /* -1: the port */
    uint16_t out_port;
    int hold;
    int fds[16];               /* all -1 */
    uint8_t *run_areas[16];
    const uint8_t *captured[8];
    size_t run_size;
    unsigned long long xstate_bv;   /* as last read back */
    unsigned long long xfd;
};

/* One scenario; the addresses of its calls follow, with a NULL behind each step. */
struct kvmprobe_request {
    int number;
    int hold;                  /* stop before a load that the last read-back shows to be fatal */
    int deadline_ms;
    int steps;
    int addresses;
};

/* How a process ended: `status` as waitpid(2) tells it. */
struct kvmprobe_ended {
    int timed_out;
    int status;
};
