/* What each vCPU's state was when last read back, and which calls load it into the processor: such a load kills a
 * host whose XRSTOR gets a component that XFD disables. */
enum {
    XSTATE_BV_OFFSET = 512,
    XFD_MSR = 0x1c4,
    MSRS_HEAD = 8,
    MSR_ENTRY = 16,
};

static uint32_t msr_index(const uint8_t *entries, size_t nr)
{
    uint32_t index;

    memcpy(&index, entries + MSR_ENTRY * nr, sizeof(index));
    return index;
}

static void note_read_back(struct kvmprobe_session *session, const struct kvmprobe_call *call, long result)
{
    const uint8_t *entries = call->output + MSRS_HEAD;

    if (call->request == KVM_GET_XSAVE2 || call->request == KVM_GET_XSAVE) {
        memcpy(&session->xstate_bv[call->on], call->output + XSTATE_BV_OFFSET, sizeof(session->xstate_bv[0]));
    } else if (call->request == KVM_GET_MSRS) {
        for (size_t nr = 0; nr < (size_t)result; nr++)
            if (msr_index(entries, nr) == XFD_MSR)
                memcpy(&session->xfd[call->on], entries + MSR_ENTRY * nr + 8, sizeof(session->xfd[0]));
    }
}

/* IA32_{U,S}_CET, IA32_PL[0-3]_SSP, IA32_INTERRUPT_SSP_TABLE_ADDR: some of them KVM loads the guest's FPU for, since
 * it has them (arch/x86/kvm/msrs.c: __msr_io, kvm_get_set_one_reg, is_xstate_managed_msr). */
static int is_cet(uint32_t index)
{
    return index == 0x6a0 || index == 0x6a2 || (index >= 0x6a4 && index <= 0x6a8);
}

static int has_cet(const uint8_t *msrs, size_t size)
{
    for (size_t nr = 0; MSRS_HEAD + MSR_ENTRY * (nr + 1) <= size; nr++)
        if (is_cet(msr_index(msrs + MSRS_HEAD, nr)))
            return 1;
    return 0;
}

static int loads_guest_fpu(const struct kvmprobe_call *call, const struct input *input)
{
    int writes = call->kind == KVMPROBE_OUTPUT;
    const uint8_t *bytes = writes ? call->blank : (const uint8_t *)input->argument;
    size_t size = writes ? call->size : input->size;

    if (call->kind == KVMPROBE_RUN || call->kind == KVMPROBE_RUN_GUEST)
        return 1;
    if (call->request == KVM_GET_MSRS || call->request == KVM_SET_MSRS)
        return has_cet(bytes, size);
    if (call->request == KVM_GET_ONE_REG || call->request == KVM_SET_ONE_REG)
        return size >= sizeof(struct kvm_one_reg) && is_cet(msr_index(bytes, 0));
    return 0;
}

static int is_fatal(const struct kvmprobe_session *session, const struct kvmprobe_call *call, const struct input *input)
{
    return call->on >= 0 && (session->xstate_bv[call->on] & session->xfd[call->on]) && loads_guest_fpu(call, input);
}
