/* The rest of a vCPU's state that a restore sets: asm/kvm.h, linux/kvm.h */
#define KVM_CREATE_IRQCHIP 0xae60
#define KVM_GET_LAPIC 0x8400ae8e
#define KVM_SET_LAPIC 0x4400ae8f
#define KVM_GET_MP_STATE 0x8004ae98
#define KVM_SET_MP_STATE 0x4004ae99
#define KVM_GET_VCPU_EVENTS 0x8040ae9f
#define KVM_SET_VCPU_EVENTS 0x4040aea0
#define KVM_GET_DEBUGREGS 0x8080aea1
#define KVM_SET_DEBUGREGS 0x4080aea2
#define KVM_GET_ONE_REG 0x4010aeab
#define KVM_SET_ONE_REG 0x4010aeac
#define KVM_GET_REG_LIST 0xc008aeb0
#define KVM_GET_SREGS2 0x8140aecc
#define KVM_SET_SREGS2 0x4140aecd

#define KVM_REG_X86 0x2000000000000000
#define KVM_REG_SIZE_U64 0x0030000000000000

struct kvm_lapic_state {
    char regs[1024];
};

struct kvm_mp_state {
    uint32_t mp_state;
};

struct kvm_debugregs {
    unsigned long long db[4];
    unsigned long long dr6;
    unsigned long long dr7;
    unsigned long long flags;
    unsigned long long reserved[9];
};

struct kvm_one_reg {
    unsigned long long id;
    unsigned long long addr;
};

struct kvm_reg_list {
    unsigned long long n;
    unsigned long long reg[];
};

struct kvm_sregs2 {
    struct kvm_segment cs, ds, es, fs, gs, ss;
    struct kvm_segment tr, ldt;
    struct kvm_dtable gdt, idt;
    unsigned long long cr0, cr2, cr3, cr4, cr8;
    unsigned long long efer;
    unsigned long long apic_base;
    unsigned long long flags;
    unsigned long long pdptrs[4];
};

struct kvm_vcpu_events {
    struct {
        uint8_t injected;
        uint8_t nr;
        uint8_t has_error_code;
        uint8_t pending;
        uint32_t error_code;
    } exception;
    struct {
        uint8_t injected;
        uint8_t nr;
        uint8_t soft;
        uint8_t shadow;
    } interrupt;
    struct {
        uint8_t injected;
        uint8_t pending;
        uint8_t masked;
        uint8_t pad;
    } nmi;
    uint32_t sipi_vector;
    uint32_t flags;
    struct {
        uint8_t smm;
        uint8_t pending;
        uint8_t smm_inside_nmi;
        uint8_t latched_init;
    } smi;
    struct {
        uint8_t pending;
    } triple_fault;
    uint8_t reserved[26];
    uint8_t exception_has_payload;
    unsigned long long exception_payload;
};
