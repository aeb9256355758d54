static int go_on;


/*
 * XRSTOR of a component that is in XSTATE_BV and that XFD disables raises #NM, here in the host (SDM vol.1 13.14 "Extended
 * Feature Disable (XFD)").  A kernel that allows such a guest fpstate panics when it loads it.
 */
static int load_is_fatal(int vcpu)
{
	static union {
		struct kvm_xsave xsave;
		uint8_t bytes[1 << 16];
	} image;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[1];
	} xfd = { .head.nmsrs = 1, .entries = { { .index = MSR_IA32_XFD } } };

	if (go_on || ioctl(vcpu, KVM_GET_XSAVE2, &image) < 0 || ioctl(vcpu, KVM_GET_MSRS, &xfd) != 1)
		return 0;
	return (u64_at(image.bytes + XSAVE_XSTATE_BV) & xfd.entries[0].data) != 0;
}
