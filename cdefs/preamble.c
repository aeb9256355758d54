/* Compiled into kvmprobe.bindings._kvm: kernel headers, fallbacks for old ones, and the shim. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cpuid.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <linux/version.h>
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
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif

/* A system call that sets no errno: threads that share their creator's thread-local memory have its errno too. */
static long kvmprobe_syscall(long number, long a, long b, long c, long d, long e)
{
    register long r10 asm("r10") = d;
    register long r8 asm("r8") = e;
    register long r9 asm("r9") = 0;
    long result;

    asm volatile("syscall"
                 : "=a"(result)
                 : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                 : "rcx", "r11", "memory");
    return result;
}

static long kvmprobe_ioctl(int fd, unsigned long request, size_t argument)
{
    return (int)kvmprobe_syscall(SYS_ioctl, fd, (long)request, (long)argument, 0, 0);
}

static long kvmprobe_arch_prctl(int code, size_t argument)
{
    return kvmprobe_syscall(SYS_arch_prctl, code, (long)argument, 0, 0, 0);
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

/* Of the kernel headers that this was compiled with: LINUX_VERSION_CODE. */
static uint32_t kvmprobe_header_version(void)
{
    return LINUX_VERSION_CODE;
}

/* MXCSR_MASK as FXSAVE tells it; 0 there means 0xffbf (SDM vol.1, 11.6.6). */
static uint32_t kvmprobe_mxcsr_mask(void)
{
    struct { uint32_t words[128]; } __attribute__((aligned(16))) area = {{0}};
    asm volatile("fxsave %0" : "=m"(area));
    return area.words[7] ? area.words[7] : 0xffbf;
}

/* Memory whose end is the end of what can be accessed; NULL if there is none.  It stays. */
static uint8_t *kvmprobe_at_page_end(size_t size)
{
    size_t whole = (size + 4095) / 4096 * 4096;
    uint8_t *memory = mmap(NULL, whole + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED || mprotect(memory + whole, 4096, PROT_NONE) < 0)
        return NULL;
    return memory + whole - size;
}
