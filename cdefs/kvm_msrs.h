/* KVM_GET_MSRS, KVM_SET_MSRS, KVM_GET_MSR_INDEX_LIST: asm/kvm.h */
#define KVM_GET_MSRS 0xc008ae88
#define KVM_SET_MSRS 0x4008ae89

struct kvm_msr_entry {
    uint32_t index;
    uint32_t reserved;
    unsigned long long data;
};

struct kvm_msrs {
    uint32_t nmsrs;
    uint32_t pad;
    struct kvm_msr_entry entries[];
};

struct kvm_msr_list {
    uint32_t nmsrs;
    uint32_t indices[];
};
