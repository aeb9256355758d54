/* long live_call(struct live_call *call): makes a system call with given registers, and reads them before and after it. */
#include "live.h"

    .macro masked instruction, area
    mov \area(%rbx), %rcx
    mov LIVE_MASK(%rbx), %eax
    mov LIVE_MASK + 4(%rbx), %edx
    \instruction (%rcx)
    .endm

    /* Loads EAX into PKRU, if the processor has it. */
    .macro load_pkru
    test %r15d, %r15d
    jz .Lno_pkru\@
    xor %ecx, %ecx
    xor %edx, %edx
    wrpkru
.Lno_pkru\@:
    .endm

    /* Reads PKRU into EAX. */
    .macro read_pkru
    xor %eax, %eax
    test %r15d, %r15d
    jz .Lno_pkru\@
    xor %ecx, %ecx
    rdpkru
.Lno_pkru\@:
    .endm

    .text
    .globl live_call
    .hidden live_call
    .type live_call, @function
live_call:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rbx
    mov LIVE_HAS_PKRU(%rbx), %r15d
    read_pkru
    mov %eax, LIVE_OWN_PKRU(%rbx)
    masked xrstor64, LIVE_LOADED
    masked xsave64, LIVE_BEFORE
    /* PKRU may deny all memory from here on. */
    mov LIVE_NUMBER(%rbx), %r12
    mov LIVE_ARGUMENTS(%rbx), %r13
    mov LIVE_ARGUMENTS + 8(%rbx), %r14
    mov LIVE_ARGUMENTS + 16(%rbx), %rbp
    mov LIVE_PKRU(%rbx), %eax
    load_pkru
    mov %r12, %rax
    mov %r13, %rdi
    mov %r14, %rsi
    mov %rbp, %rdx
    syscall
    mov %rax, %r12
    read_pkru
    mov %eax, %r13d
    xor %eax, %eax
    load_pkru
    masked xsave64, LIVE_AFTER
    mov %r13d, LIVE_SEEN_PKRU(%rbx)
    mov LIVE_OWN_PKRU(%rbx), %eax
    load_pkru
    masked xrstor64, LIVE_INITIAL
    mov %r12, %rax
    cld
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .size live_call, . - live_call

    .section .note.GNU-stack, "", @progbits
