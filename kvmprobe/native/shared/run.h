/* Enters the guest once; copies the run area from exit_reason on.  Later entries synchronize no registers. */
static long run_once(int vcpu, struct kvm_run *area, uint8_t *output, size_t size)
{
	long result = result_of(ioctl(vcpu, KVM_RUN, 0));

	memcpy(output, &area->exit_reason, size);
	area->kvm_valid_regs = 0;
	area->kvm_dirty_regs = 0;
	return result;
}
