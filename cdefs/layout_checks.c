/* What cffi cannot compare: a declaration of ours with part of one of the kernel's. */
#define SAME_OFFSET(field) \
    _Static_assert(offsetof(struct kvmprobe_run_head, field) == offsetof(struct kvm_run, field), #field)
SAME_OFFSET(immediate_exit);
SAME_OFFSET(exit_reason);
SAME_OFFSET(if_flag);
SAME_OFFSET(cr8);
SAME_OFFSET(apic_base);
_Static_assert(offsetof(struct kvmprobe_run_head, suberror) == offsetof(struct kvm_run, internal.suberror),
               "suberror");
