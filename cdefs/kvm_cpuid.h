/* KVM_GET_SUPPORTED_CPUID, KVM_SET_CPUID, KVM_SET_CPUID2, KVM_GET_CPUID2: asm/kvm.h */
#define KVM_SET_CPUID 0x4008ae8a
#define KVM_SET_CPUID2 0x4008ae90
#define KVM_GET_CPUID2 0xc008ae91
#define KVM_CPUID_FLAG_SIGNIFCANT_INDEX 1

struct kvm_cpuid_entry2 {
    uint32_t function;
    uint32_t index;
    uint32_t flags;
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
    uint32_t padding[3];
};

struct kvm_cpuid_entry {
    uint32_t function;
    uint32_t eax;
    uint32_t ebx;
    uint32_t ecx;
    uint32_t edx;
    uint32_t padding;
};

struct kvm_cpuid {
    uint32_t nent;
    uint32_t padding;
    struct kvm_cpuid_entry entries[];
};

struct kvm_cpuid2 {
    uint32_t nent;
    uint32_t padding;
    struct kvm_cpuid_entry2 entries[];
};
