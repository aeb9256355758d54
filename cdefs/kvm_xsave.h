/* Extended state of a vCPU: asm/kvm.h, linux/kvm.h */
#define KVM_GET_XSAVE 0x9000aea4
#define KVM_SET_XSAVE 0x5000aea5
#define KVM_GET_XSAVE2 0x9000aecf
#define KVM_GET_XCRS 0x8188aea6
#define KVM_SET_XCRS 0x4188aea7
#define KVM_GET_FPU 0x81a0ae8c
#define KVM_SET_FPU 0x41a0ae8d
#define KVM_MAX_XCRS 16

struct kvm_xcr {
    uint32_t xcr;
    uint32_t reserved;
    unsigned long long value;
};

struct kvm_xcrs {
    uint32_t nr_xcrs;
    uint32_t flags;
    struct kvm_xcr xcrs[16];
    unsigned long long padding[16];
};

struct kvm_fpu {
    uint8_t fpr[8][16];
    uint16_t fcw;
    uint16_t fsw;
    uint8_t ftwx;
    uint8_t pad1;
    uint16_t last_opcode;
    unsigned long long last_ip;
    unsigned long long last_dp;
    uint8_t xmm[16][16];
    uint32_t mxcsr;
    uint32_t pad2;
};
