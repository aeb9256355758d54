/* The /dev/kvm descriptor: linux/kvm.h, asm/kvm.h */
#define KVM_GET_API_VERSION 0xae00
#define KVM_CREATE_VM 0xae01
#define KVM_GET_MSR_INDEX_LIST 0xc004ae02
#define KVM_CHECK_EXTENSION 0xae03
#define KVM_GET_VCPU_MMAP_SIZE 0xae04
#define KVM_GET_SUPPORTED_CPUID 0xc008ae05
#define KVM_GET_EMULATED_CPUID 0xc008ae09
#define KVM_GET_MSR_FEATURE_INDEX_LIST 0xc004ae0a
#define KVM_SET_DEVICE_ATTR 0x4018aee1
#define KVM_GET_DEVICE_ATTR 0x4018aee2
#define KVM_HAS_DEVICE_ATTR 0x4018aee3

#define KVM_X86_XCOMP_GUEST_SUPP 0

struct kvm_device_attr {
    uint32_t flags;
    uint32_t group;
    unsigned long long attr;
    unsigned long long addr;
};
