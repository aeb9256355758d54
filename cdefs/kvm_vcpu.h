/* Registers and the run page of a vCPU: asm/kvm.h, linux/kvm.h */
#define KVM_RUN 0xae80
#define KVM_GET_REGS 0x8090ae81
#define KVM_SET_REGS 0x4090ae82
#define KVM_GET_SREGS 0x8138ae83
#define KVM_SET_SREGS 0x4138ae84
#define KVM_TRANSLATE 0xc018ae85
#define KVM_INTERRUPT 0x4004ae86
#define KVM_NMI 0xae9a
#define KVM_SET_GUEST_DEBUG 0x4048ae9b
#define KVM_SET_TSC_KHZ 0xaea2
#define KVM_GET_TSC_KHZ 0xaea3
#define KVM_GET_NESTED_STATE 0xc080aebe
#define KVM_SET_NESTED_STATE 0x4080aebf

#define KVM_GUESTDBG_ENABLE 1
#define KVM_GUESTDBG_SINGLESTEP 2
#define KVM_GUESTDBG_USE_SW_BP 0x10000
#define KVM_GUESTDBG_USE_HW_BP 0x20000

#define KVM_EXIT_UNKNOWN 0
#define KVM_EXIT_IO 2
#define KVM_EXIT_HYPERCALL 3
#define KVM_EXIT_DEBUG 4
#define KVM_EXIT_HLT 5
#define KVM_EXIT_MMIO 6
#define KVM_EXIT_IRQ_WINDOW_OPEN 7
#define KVM_EXIT_SHUTDOWN 8
#define KVM_EXIT_FAIL_ENTRY 9
#define KVM_EXIT_INTR 10
#define KVM_EXIT_INTERNAL_ERROR 17
#define KVM_EXIT_SYSTEM_EVENT 24
#define KVM_EXIT_IOAPIC_EOI 26
#define KVM_EXIT_X86_RDMSR 29
#define KVM_EXIT_X86_WRMSR 30
#define KVM_EXIT_DIRTY_RING_FULL 31
#define KVM_EXIT_X86_BUS_LOCK 33
#define KVM_EXIT_NOTIFY 37
#define KVM_EXIT_MEMORY_FAULT 39

#define KVM_INTERNAL_ERROR_EMULATION 1
#define KVM_INTERNAL_ERROR_SIMUL_EX 2
#define KVM_INTERNAL_ERROR_DELIVERY_EV 3
#define KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON 4

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

struct kvm_translation {
    unsigned long long linear_address;
    unsigned long long physical_address;
    uint8_t valid;
    uint8_t writeable;
    uint8_t usermode;
    uint8_t pad[5];
};

struct kvm_interrupt {
    uint32_t irq;
};

struct kvm_guest_debug_arch {
    unsigned long long debugreg[8];
};

struct kvm_guest_debug {
    uint32_t control;
    uint32_t pad;
    struct kvm_guest_debug_arch arch;
};
