/* The beginning of struct kvm_run, and the first field of the union that the exit reason selects;
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
    uint32_t suberror;
};
