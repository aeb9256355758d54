/* Compiled into kvmprobe.bindings._kvm: kernel headers and the shim. */
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <cpuid.h>
#include <linux/kvm.h>
#include <linux/version.h>

#include "shared/fallbacks.h"

/* A system call that returns -errno, as the kernel does, and leaves errno alone. */
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

static void kvmprobe_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    __cpuid_count(leaf, subleaf, registers[0], registers[1], registers[2], registers[3]);
}

/* LINUX_VERSION_CODE of the kernel headers that this was compiled with. */
static uint32_t kvmprobe_header_version(void)
{
    return LINUX_VERSION_CODE;
}

/* MXCSR_MASK as FXSAVE stores it; 0 there means 0xffbf (SDM vol.1, 11.6.6). */
static uint32_t kvmprobe_mxcsr_mask(void)
{
    struct { uint32_t words[128]; } __attribute__((aligned(16))) area = {{0}};
    asm volatile("fxsave %0" : "=m"(area));
    return area.words[7] ? area.words[7] : 0xffbf;
}
