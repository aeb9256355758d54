/* What cffi cannot compare: a declaration of ours with part of one of the kernel's. */
#define SAME_PLACE(ours, kernels) \
    _Static_assert(offsetof(struct kvmprobe_run_head, ours) == offsetof(struct kvm_run, kernels), #ours); \
    _Static_assert(sizeof(((struct kvmprobe_run_head *)0)->ours) == sizeof(((struct kvm_run *)0)->kernels), #ours)
#define SAME_FIELD(field) SAME_PLACE(field, field)
SAME_FIELD(immediate_exit);
SAME_FIELD(exit_reason);
SAME_FIELD(if_flag);
SAME_FIELD(cr8);
SAME_FIELD(apic_base);
SAME_FIELD(fail_entry.hardware_entry_failure_reason);
SAME_FIELD(fail_entry.cpu);
SAME_FIELD(io.direction);
SAME_FIELD(io.size);
SAME_FIELD(io.port);
SAME_FIELD(io.count);
SAME_FIELD(io.data_offset);
SAME_FIELD(mmio.phys_addr);
SAME_FIELD(mmio.data);
SAME_FIELD(mmio.len);
SAME_FIELD(mmio.is_write);
SAME_FIELD(hypercall.nr);
SAME_FIELD(hypercall.args);
SAME_FIELD(hypercall.ret);
SAME_FIELD(hypercall.longmode);
SAME_FIELD(internal.suberror);
SAME_FIELD(internal.ndata);
SAME_FIELD(internal.data);
SAME_FIELD(system_event.type);
SAME_FIELD(system_event.ndata);
SAME_FIELD(msr.error);
SAME_FIELD(msr.reason);
SAME_FIELD(msr.index);
SAME_FIELD(msr.data);
#ifdef KVM_MEMORY_EXIT_FLAG_PRIVATE /* Linux 6.8 */
SAME_FIELD(memory_fault.flags);
SAME_FIELD(memory_fault.gpa);
SAME_FIELD(memory_fault.size);
#endif
SAME_PLACE(hardware_exit_reason, hw.hardware_exit_reason);
SAME_PLACE(suberror, internal.suberror);
SAME_PLACE(debug.exception, debug.arch.exception);
SAME_PLACE(debug.pc, debug.arch.pc);
SAME_PLACE(debug.dr6, debug.arch.dr6);
SAME_PLACE(debug.dr7, debug.arch.dr7);
