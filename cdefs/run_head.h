/* The beginning of struct kvm_run, and those members of the union that the exit reason selects which the bindings read;
 * read by cffi and by the C compiler. */
struct kvmprobe_run_head {
    uint8_t request_interrupt_window;
    uint8_t immediate_exit;
    uint8_t padding1[6];
    uint32_t exit_reason;
    uint8_t ready_for_interrupt_injection;
    uint8_t if_flag;
    uint16_t flags;
    unsigned long long cr8;
    unsigned long long apic_base;
    union {
        unsigned long long hardware_exit_reason;
        uint32_t suberror;
        struct {
            unsigned long long hardware_entry_failure_reason;
            uint32_t cpu;
        } fail_entry;
        struct {
            uint8_t direction;
            uint8_t size;
            uint16_t port;
            uint32_t count;
            unsigned long long data_offset;
        } io;
        struct {
            uint32_t exception;
            uint32_t pad;
            unsigned long long pc;
            unsigned long long dr6;
            unsigned long long dr7;
        } debug;
        struct {
            unsigned long long phys_addr;
            uint8_t data[8];
            uint32_t len;
            uint8_t is_write;
        } mmio;
        struct {
            unsigned long long nr;
            unsigned long long args[6];
            unsigned long long ret;
            uint32_t longmode;
        } hypercall;
        struct {
            uint32_t suberror;
            uint32_t ndata;
            unsigned long long data[16];
        } internal;
        struct {
            uint32_t type;
            uint32_t ndata;
            unsigned long long data[16];
        } system_event;
        struct {
            uint8_t error;
            uint8_t pad[7];
            uint32_t reason;
            uint32_t index;
            unsigned long long data;
        } msr;
        struct {
            unsigned long long flags;
            unsigned long long gpa;
            unsigned long long size;
        } memory_fault;
    };
};
