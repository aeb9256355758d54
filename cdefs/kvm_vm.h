/* A VM descriptor: linux/kvm.h */
#define KVM_CREATE_VCPU 0xae41
#define KVM_SET_USER_MEMORY_REGION 0x4020ae46

struct kvm_userspace_memory_region {
    uint32_t slot;
    uint32_t flags;
    unsigned long long guest_phys_addr;
    unsigned long long memory_size;
    unsigned long long userspace_addr;
};
