/* Registers and the run page of a vCPU: asm/kvm.h, linux/kvm.h */
#define KVM_RUN 0xae80
#define KVM_GET_REGS 0x8090ae81
#define KVM_SET_REGS 0x4090ae82
#define KVM_GET_SREGS 0x8138ae83
#define KVM_SET_SREGS 0x4138ae84

#define KVM_EXIT_UNKNOWN 0
#define KVM_EXIT_IO 2
#define KVM_EXIT_HLT 5
#define KVM_EXIT_SHUTDOWN 8
#define KVM_EXIT_FAIL_ENTRY 9
#define KVM_EXIT_INTR 10
#define KVM_EXIT_INTERNAL_ERROR 17

struct kvm_regs {
    unsigned long long rax, rbx, rcx, rdx;
    unsigned long long rsi, rdi, rsp, rbp;
    unsigned long long r8, r9, r10, r11;
    unsigned long long r12, r13, r14, r15;
    unsigned long long rip, rflags;
};

struct kvm_segment {
    unsigned long long base;
    uint32_t limit;
    uint16_t selector;
    uint8_t type;
    uint8_t present, dpl, db, s, l, g, avl;
    uint8_t unusable;
    uint8_t padding;
};

struct kvm_dtable {
    unsigned long long base;
    uint16_t limit;
    uint16_t padding[3];
};

struct kvm_sregs {
    struct kvm_segment cs, ds, es, fs, gs, ss;
    struct kvm_segment tr, ldt;
    struct kvm_dtable gdt, idt;
    unsigned long long cr0, cr2, cr3, cr4, cr8;
    unsigned long long efer;
    unsigned long long apic_base;
    unsigned long long interrupt_bitmap[4];
};
