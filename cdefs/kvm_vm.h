/* A VM descriptor: linux/kvm.h */
#define KVM_CREATE_VCPU 0xae41
#define KVM_GET_DIRTY_LOG 0x4010ae42
#define KVM_SET_USER_MEMORY_REGION 0x4020ae46
#define KVM_SET_TSS_ADDR 0xae47
#define KVM_SET_IDENTITY_MAP_ADDR 0x4008ae48
#define KVM_IRQ_LINE 0x4008ae61
#define KVM_IRQFD 0x4020ae76
#define KVM_IOEVENTFD 0x4040ae79
#define KVM_SET_CLOCK 0x4030ae7b
#define KVM_GET_CLOCK 0x8030ae7c
#define KVM_ENABLE_CAP 0x4068aea3

#define KVM_MEM_LOG_DIRTY_PAGES 1
#define KVM_MEM_READONLY 2
#define KVM_CLOCK_TSC_STABLE 2
#define KVM_CLOCK_REALTIME 4
#define KVM_CLOCK_HOST_TSC 8
#define KVM_IRQFD_FLAG_DEASSIGN 1

struct kvm_userspace_memory_region {
    uint32_t slot;
    uint32_t flags;
    unsigned long long guest_phys_addr;
    unsigned long long memory_size;
    unsigned long long userspace_addr;
};

struct kvm_dirty_log {
    uint32_t slot;
    uint32_t padding1;
    union {
        void *dirty_bitmap;
        unsigned long long padding2;
    };
};

struct kvm_irq_level {
    union {
        uint32_t irq;
        int32_t status;
    };
    uint32_t level;
};

struct kvm_irqfd {
    uint32_t fd;
    uint32_t gsi;
    uint32_t flags;
    uint32_t resamplefd;
    uint8_t pad[16];
};

struct kvm_ioeventfd {
    unsigned long long datamatch;
    unsigned long long addr;
    uint32_t len;
    int32_t fd;
    uint32_t flags;
    uint8_t pad[36];
};

struct kvm_clock_data {
    unsigned long long clock;
    uint32_t flags;
    uint32_t pad0;
    unsigned long long realtime;
    unsigned long long host_tsc;
    uint32_t pad[4];
};

struct kvm_enable_cap {
    uint32_t cap;
    uint32_t flags;
    unsigned long long args[4];
    uint8_t pad[64];
};
