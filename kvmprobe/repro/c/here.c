#include <fcntl.h>
static void need_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm < 0)
		cannot_run("/dev/kvm: %s", strerror(errno));
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2) <= 0)
		cannot_run("KVM has no KVM_CAP_XSAVE2; the kernel is older than Linux 5.17");
	close(kvm);
}


#include <fcntl.h>
/* Checks which components KVM offers guests; all expected results depend on them. */
static void need_guest_components(uint64_t wanted)
{
	uint64_t offered = 0;
	struct kvm_device_attr attribute = {
		.attr = KVM_X86_XCOMP_GUEST_SUPP,
		.addr = (uintptr_t)&offered,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (ioctl(kvm, KVM_GET_DEVICE_ATTR, &attribute) < 0)
		cannot_run("KVM_GET_DEVICE_ATTR(KVM_X86_XCOMP_GUEST_SUPP): %s", strerror(errno));
	close(kvm);
	if (offered != wanted)
		cannot_run("KVM offers guests XCR0=%#llx here, not %#llx%s", (unsigned long long)offered,
			   (unsigned long long)wanted, wanted & ~offered & 1ULL << 18 ? " (no AMX)" : "");
}


#include <fcntl.h>
static void need_nested_vmx(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (access("/sys/module/kvm_intel", F_OK) < 0)
		cannot_run("KVM runs guests without VMX (no module kvm_intel)");
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE) <= 0)
		cannot_run("KVM has no KVM_CAP_NESTED_STATE");
	close(kvm);
}


#include <cpuid.h>
static void need_component(unsigned int nr, unsigned int offset, unsigned int size)
{
	unsigned int eax, ebx, ecx, edx;

	__cpuid_count(0xd, nr, eax, ebx, ecx, edx);
	(void)ecx, (void)edx;
	if (eax != size || ebx != offset)
		cannot_run("on this CPU component %u has offset %u and size %u, not offset %u and size %u", nr, ebx, eax,
			   offset, size);
}


static void need_mxcsr_mask(uint32_t wanted)
{
	static struct { uint8_t bytes[512]; } area __attribute__((aligned(16)));
	uint32_t mask;

	__asm__ volatile("fxsave %0" : "=m"(area));
	mask = (uint32_t)u32_at(area.bytes + XSAVE_MXCSR_MASK);
	if ((mask ? mask : 0xffbf) != wanted)
		cannot_run("MXCSR_MASK is %#x on this CPU, not %#x", mask, wanted);
}
