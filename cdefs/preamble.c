/* Compiled into kvmprobe.bindings._kvm: kernel headers, fallbacks for old ones, and the shim. */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cpuid.h>
#include <linux/kvm.h>
#include <asm/prctl.h>

/* Names that user-space headers older than 5.17 lack. */
#ifndef ARCH_GET_XCOMP_SUPP
#define ARCH_GET_XCOMP_SUPP 0x1021
#define ARCH_GET_XCOMP_PERM 0x1022
#define ARCH_REQ_XCOMP_PERM 0x1023
#endif
#ifndef ARCH_GET_XCOMP_GUEST_PERM
#define ARCH_GET_XCOMP_GUEST_PERM 0x1024
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#endif
#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#endif
#ifndef KVM_GET_XSAVE2
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif
#ifndef KVM_CAP_SYS_ATTRIBUTES
#define KVM_CAP_SYS_ATTRIBUTES 209
#endif
#ifndef KVM_X86_XCOMP_GUEST_SUPP
#define KVM_X86_XCOMP_GUEST_SUPP 0
#endif

static long kvmprobe_ioctl(int fd, unsigned long request, size_t argument)
{
    int result = ioctl(fd, request, argument);
    return result < 0 ? -(long)errno : result;
}

static long kvmprobe_arch_prctl(int code, size_t argument)
{
    long result = syscall(SYS_arch_prctl, code, argument);
    return result < 0 ? -(long)errno : result;
}

static long kvmprobe_iopl(int level)
{
    return iopl(level) < 0 ? -(long)errno : 0;
}

static void kvmprobe_port_out(uint16_t port, const void *bytes, size_t size)
{
    asm volatile("rep outsb" : "+S"(bytes), "+c"(size) : "d"(port) : "memory");
}

/* Reads until a newline, which it keeps, a 0, which it drops, or no room; returns the length. */
static size_t kvmprobe_port_line(uint16_t port, char *line, size_t size)
{
    size_t length = 0;
    while (length < size && (line[length] = (char)inb(port)) != 0)
        if (line[length++] == '\n')
            break;
    return length;
}

static void kvmprobe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
}

/* MXCSR_MASK as FXSAVE tells it; 0 there means 0xffbf (SDM vol.1, 11.6.6). */
static uint32_t kvmprobe_mxcsr_mask(void)
{
    struct { uint32_t words[128]; } __attribute__((aligned(16))) area = {{0}};
    asm volatile("fxsave %0" : "=m"(area));
    return area.words[7] ? area.words[7] : 0xffbf;
}

/* Guest: enables OSXSAVE, reads XCR0, gives its low byte to port 0x80, halts. Entered in long mode. */
asm(".pushsection .rodata\n"
    ".globl kvmprobe_long_mode_code\n"
    ".hidden kvmprobe_long_mode_code\n"
    "kvmprobe_long_mode_code:\n"
    "    mov %cr4, %rax\n"
    "    or $(1 << 18), %rax\n"
    "    mov %rax, %cr4\n"
    "    xor %ecx, %ecx\n"
    "    xgetbv\n"
    "    out %al, $0x80\n"
    "    hlt\n"
    "kvmprobe_long_mode_code_end:\n"
    ".popsection\n");
extern const uint8_t kvmprobe_long_mode_code[];
extern const uint8_t kvmprobe_long_mode_code_end[] __attribute__((visibility("hidden")));

static size_t kvmprobe_long_mode_code_size(void)
{
    return (size_t)(kvmprobe_long_mode_code_end - kvmprobe_long_mode_code);
}
