/* The guest payload.  It starts at the reset vector, then repeats: execute the command in memory, store the result, exit
 * by OUT.  The payload itself uses no FPU or vector register, and only commands change CR4.OSXSAVE.  Linear addresses are
 * physical addresses.  A second mapping of the same memory, at USER, is for CPL 3; so PKRU, SMEP and SMAP do not apply to
 * the payload itself.  A third one, at PAYLOAD_SHADOW, is of shadow-stack pages (SDM vol.3 4.6.1): not writable, dirty.
 * Targets of indirect jumps and entries of the IDT begin with ENDBR64, so that commands may turn on indirect branch
 * tracking; without it ENDBR64 is a NOP. */
#include "constants.h"

#define PML4 0x1000
#define PDPT 0x2000
#define PD 0x3000
#define IDT 0x4000
#define TSS 0x4800
#define STACK 0x8000                    /* grows down from the code */
#define USER 0x200000

#define VECTORS 32
#define RETURN_FROM_USER 0x20           /* INT after a command at CPL 3 */

#define CODE32 0x08
#define DATA32 0x10
#define CODE64 0x18
#define USER_CODE64 0x23
#define USER_DATA 0x2b
#define TASK 0x30

#define ADDRESS(label) (label - payload_code + PAYLOAD_CODE)
#define COMMAND(field) (PAYLOAD_COMMAND + PAYLOAD_COMMAND_##field)
#define RESULT(field) (PAYLOAD_RESULT + PAYLOAD_RESULT_##field)

    .section .rodata
    .globl payload_reset, payload_code, payload_code_end
    .hidden payload_reset, payload_code, payload_code_end

    .balign 16
payload_reset:
    .code16
    ljmp $0, $PAYLOAD_CODE
    .balign 16

payload_code:
    cli
    xor %ax, %ax
    mov %ax, %ds
    lgdtl ADDRESS(gdt_pointer)
    mov %cr0, %eax
    or $1, %eax                         /* PE */
    mov %eax, %cr0
    ljmpl $CODE32, $ADDRESS(protected_mode)

    .code32
protected_mode:
    mov $DATA32, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    movl $(PDPT | 7), PML4
    movl $(PD | 7), PDPT
    movl $0x83, PD                      /* 2 MiB: present, writable */
    movl $0x87, PD + 8                  /* and for CPL 3 */
    movl $0xe1, PD + 16                 /* present, accessed, dirty */
    mov $PML4, %eax
    mov %eax, %cr3
    mov $0x620, %eax                    /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx               /* EFER.LME */
    rdmsr
    or $0x100, %eax
    wrmsr
    mov $0x80010033, %eax               /* PG, WP, NE, ET, MP, PE */
    mov %eax, %cr0
    ljmp $CODE64, $ADDRESS(long_mode)

    .code64
long_mode:
    mov $STACK, %esp
    mov $ADDRESS(vectors), %eax
    mov $IDT, %edi
    mov $(VECTORS + 1), %ecx
1:  movzwl %ax, %edx
    or $(CODE64 << 16), %edx
    mov %edx, (%rdi)
    mov %eax, %edx
    mov $0x8e00, %dx                    /* present interrupt gate */
    mov %edx, 4(%rdi)
    movq $0, 8(%rdi)
    add $16, %eax
    add $16, %edi
    dec %ecx
    jnz 1b
    movb $0xee, IDT + 16 * RETURN_FROM_USER + 5     /* for CPL 3 */
    lidt ADDRESS(idt_pointer)
    movq $STACK, TSS + 4
    movw $0x68, TSS + 0x66
    movb $0x89, ADDRESS(gdt) + TASK + 5 /* not busy, also when another vCPU has loaded it */
    mov $TASK, %eax
    ltr %ax

next_command:
    mov $STACK, %esp
    cld
    lea no_command(%rip), %r14
    mov PAYLOAD_COMMAND, %eax
    cmp $PAYLOAD_COMMANDS, %eax
    jae 1f
    lea commands(%rip), %r14
    movslq (%r14, %rax, 4), %r14
    add $PAYLOAD_CODE, %r14
1:  mov COMMAND(OPERAND), %r13d
    mov COMMAND(OFFSET), %rdi
    add $PAYLOAD_DATA, %rdi
    mov COMMAND(RAX), %rax
    mov COMMAND(RBX), %rbx
    mov COMMAND(RCX), %rcx
    mov COMMAND(RDX), %rdx
    jmp *%r14

no_command:
    endbr64
    movq $PAYLOAD_NO_COMMAND, RESULT(VECTOR)
    movq $0, RESULT(RETURNED)
    jmp report_no_exception
finished:
    movq $PAYLOAD_NO_EXCEPTION, RESULT(VECTOR)
    movq $1, RESULT(RETURNED)
report_no_exception:
    movq $0, RESULT(ERROR_CODE)
    movq $0, RESULT(RIP)
    mov %rax, RESULT(RAX)
report:
    mov %rbx, RESULT(RBX)
    mov %rcx, RESULT(RCX)
    mov %rdx, RESULT(RDX)
    mov %cr0, %rax
    mov %rax, RESULT(CR0)
    mov %cr2, %rax
    mov %rax, RESULT(CR2)
    mov %cr4, %rax
    mov %rax, RESULT(CR4)
    mov PAYLOAD_COUNTER, %rax
    inc %rax
    mov %rax, PAYLOAD_COUNTER
    mov %rax, RESULT(SEQUENCE)
    out %al, $PAYLOAD_PORT
    jmp next_command

exception:                              /* on the stack: vector, error code, RIP, ... */
    mov %rax, RESULT(RAX)
    mov (%rsp), %rax
    mov %rax, RESULT(VECTOR)
    mov 8(%rsp), %rax
    mov %rax, RESULT(ERROR_CODE)
    mov 16(%rsp), %rax
    sub %r15, %rax
    mov %rax, RESULT(RIP)
    movq $0, RESULT(RETURNED)
    jmp report

    .balign 16
vectors:
    .set vector, 0
    .rept VECTORS
    .balign 16
    endbr64
    /* #DF, #TS to #PF, #AC, #CP, #VC and #SX have an error code. */
    .if (1 << vector & 0x60227d00) == 0
    push $0
    .endif
    push $vector
    jmp exception
    .set vector, vector + 1
    .endr
    .balign 16
    endbr64
    jmp finished

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            /* CODE32 */
    .quad 0x00cf93000000ffff            /* DATA32 */
    .quad 0x00af9b000000ffff            /* CODE64 */
    .quad 0x00affb000000ffff            /* USER_CODE64 */
    .quad 0x00cff3000000ffff            /* USER_DATA */
    .quad 0x0000890000000067 + (TSS << 16), 0
gdt_pointer:
    .word gdt_pointer - gdt - 1
    .long ADDRESS(gdt)
idt_pointer:
    .word 16 * (VECTORS + 1) - 1
    .quad IDT

/* The code of a command.  R15 is the address of its first instruction, RDI that of its memory operand. */
.macro target number
target_\number:
    endbr64
.endm

.macro command number
    target \number
    lea 1f(%rip), %r15
1:
.endm

.macro simple number, instruction:vararg
    command \number
    \instruction
    jmp finished
.endm

/* An instruction on a token of a shadow stack.  Before it RBX goes to the physical address in RCX, where the token is;
 * after it RBX comes from there. */
.macro token_command number, instruction:vararg
    target \number
    mov %rbx, (%rcx)
    lea 1f(%rip), %r15
1:  \instruction
    mov (%rcx), %rbx
    jmp finished
.endm

/* A command, for code with one entry of 16 bytes for each tile: ENDBR64, then the instruction. */
.macro tile_command number
    target \number
    lea 1f(%rip), %r15
    and $7, %r13d
    shl $4, %r13d
    add %r15, %r13
    lea 4(%r13), %r15
    jmp *%r13
    .balign 16
1:
.endm

#define TO_7 0, 1, 2, 3, 4, 5, 6, 7
#define TO_15 TO_7, 8, 9, 10, 11, 12, 13, 14, 15
#define TO_31 TO_15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
#define TO_47 TO_31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47
#define TO_63 TO_47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63

    simple PAYLOAD_NOP, nop
    simple PAYLOAD_UD2, ud2
    simple PAYLOAD_CPUID, cpuid
    simple PAYLOAD_RDMSR, rdmsr
    simple PAYLOAD_WRMSR, wrmsr
    simple PAYLOAD_READ_CR0, mov %cr0, %rax
    simple PAYLOAD_WRITE_CR0, mov %rax, %cr0
    simple PAYLOAD_READ_CR4, mov %cr4, %rax
    simple PAYLOAD_WRITE_CR4, mov %rax, %cr4
    simple PAYLOAD_CLTS, clts
    simple PAYLOAD_XGETBV, xgetbv
    simple PAYLOAD_XSETBV, xsetbv

    command PAYLOAD_XSETBV_CPL3
    mov $(USER + ADDRESS(at_cpl3)), %r15d
    push $USER_DATA
    push $0
    push $2
    push $USER_CODE64
    push %r15
    iretq
at_cpl3:
    xsetbv
    int $RETURN_FROM_USER

    simple PAYLOAD_RDPKRU, rdpkru
    simple PAYLOAD_WRPKRU, wrpkru
    simple PAYLOAD_FNINIT, fninit
    simple PAYLOAD_FLDCW, fldcw (%rdi)
    simple PAYLOAD_FNSTCW, fnstcw (%rdi)
    simple PAYLOAD_FNSTSW, fnstsw (%rdi)
    simple PAYLOAD_FNCLEX, fnclex
    simple PAYLOAD_FNOP, fnop
    simple PAYLOAD_FWAIT, fwait
    simple PAYLOAD_FLD1, fld1
    simple PAYLOAD_FLD, fldt (%rdi)
    simple PAYLOAD_FSTP, fstpt (%rdi)
    simple PAYLOAD_FSQRT, fsqrt
    simple PAYLOAD_LDMXCSR, ldmxcsr (%rdi)
    simple PAYLOAD_STMXCSR, stmxcsr (%rdi)
    simple PAYLOAD_SQRTPS, sqrtps %xmm0, %xmm0

    command PAYLOAD_LOAD_XMM
    .irp n, TO_15
    movups 16 * \n(%rdi), %xmm\n
    .endr
    jmp finished
    command PAYLOAD_STORE_XMM
    .irp n, TO_15
    movups %xmm\n, 16 * \n(%rdi)
    .endr
    jmp finished

    command PAYLOAD_LOAD_YMM
    .irp n, TO_15
    vmovups 32 * \n(%rdi), %ymm\n
    .endr
    jmp finished
    command PAYLOAD_STORE_YMM
    .irp n, TO_15
    vmovups %ymm\n, 32 * \n(%rdi)
    .endr
    jmp finished

    command PAYLOAD_LOAD_ZMM
    .irp n, TO_31
    vmovups 64 * \n(%rdi), %zmm\n
    .endr
    jmp finished
    command PAYLOAD_STORE_ZMM
    .irp n, TO_31
    vmovups %zmm\n, 64 * \n(%rdi)
    .endr
    jmp finished

    command PAYLOAD_LOAD_K
    .irp n, TO_7
    kmovq 8 * \n(%rdi), %k\n
    .endr
    jmp finished
    command PAYLOAD_STORE_K
    .irp n, TO_7
    kmovq %k\n, 8 * \n(%rdi)
    .endr
    jmp finished

    simple PAYLOAD_VZEROALL, vzeroall
    simple PAYLOAD_VZEROUPPER, vzeroupper

    simple PAYLOAD_FXSAVE64, fxsave64 (%rdi)
    simple PAYLOAD_FXRSTOR64, fxrstor64 (%rdi)
    simple PAYLOAD_XSAVE64, xsave64 (%rdi)
    simple PAYLOAD_XSAVEC64, xsavec64 (%rdi)
    simple PAYLOAD_XSAVES64, xsaves64 (%rdi)
    simple PAYLOAD_XSAVEOPT64, xsaveopt64 (%rdi)
    simple PAYLOAD_XRSTOR64, xrstor64 (%rdi)
    simple PAYLOAD_XRSTORS64, xrstors64 (%rdi)

    simple PAYLOAD_LDTILECFG, ldtilecfg (%rdi)
    simple PAYLOAD_STTILECFG, sttilecfg (%rdi)

    tile_command PAYLOAD_TILELOADD
    .irp n, TO_7
    .balign 16
    endbr64
    tileloadd (%rdi, %rdx, 1), %tmm\n
    jmp finished
    .endr
    tile_command PAYLOAD_TILESTORED
    .irp n, TO_7
    .balign 16
    endbr64
    tilestored %tmm\n, (%rdi, %rdx, 1)
    jmp finished
    .endr
    tile_command PAYLOAD_TILEZERO
    .irp n, TO_7
    .balign 16
    endbr64
    tilezero %tmm\n
    jmp finished
    .endr

    simple PAYLOAD_TILERELEASE, tilerelease
    simple PAYLOAD_TDPBSSD, tdpbssd %tmm2, %tmm1, %tmm0

    simple PAYLOAD_RDSSP, rdsspq %rax
    simple PAYLOAD_INCSSP, incsspq %rax
    token_command PAYLOAD_SETSSBSY, setssbsy
    token_command PAYLOAD_CLRSSBSY, clrssbsy (%rdi)
    token_command PAYLOAD_RSTORSSP, rstorssp (%rdi)
    token_command PAYLOAD_WRSS, wrssq %rax, (%rdi)

    /* RSTORSSP, and SAVEPREVSSP; RBX comes from the token that this leaves on the stack before. */
    target PAYLOAD_SWITCH_STACKS
    mov %rbx, (%rcx)
    rdsspq %rdx
    lea 1f(%rip), %r15
1:  rstorssp (%rdi)
    saveprevssp
    mov -8 - PAYLOAD_SHADOW(%rdx), %rbx
    jmp finished

    target PAYLOAD_CALL
    call 1f
    jmp finished
1:  lea 2f(%rip), %r15
2:  ret

    /* The return address is another one than on the shadow stack; without a shadow stack RET goes there. */
    target PAYLOAD_RETURN_ELSEWHERE
    call 1f
1:  lea 3f(%rip), %r15
    mov %r15, (%rsp)
    lea 2f(%rip), %r15
2:  ret
3:  jmp finished

    /* An indirect jump to an instruction that is not ENDBR64. */
    target PAYLOAD_JUMP_UNTRACKED
    lea 1f(%rip), %r15
    jmp *%r15
1:  nop
    jmp finished

#include "guest_nested.h"

    /* Until another command is there: it is read while the guest runs. */
    target PAYLOAD_SPIN
1:  movq $PAYLOAD_SPINNING, RESULT(VECTOR)
    pause
    cmpl $PAYLOAD_SPIN, PAYLOAD_COMMAND
    je 1b
    jmp next_command

    /* The instruction that the command has, and NOPs.  The jump makes the processor fetch what was stored: SDM vol.3
     * 9.1.3 "Handling Self- and Cross-Modifying Code". */
    target PAYLOAD_GIVEN
    mov COMMAND(INSTRUCTION), %r14
    mov %r14, given(%rip)
    mov COMMAND(INSTRUCTION) + 8, %r14
    mov %r14, given + 8(%rip)
    lea given(%rip), %r15
    jmp given
given:
    .skip 16, 0x90
    jmp finished

    .balign 4
commands:
    .irp n, TO_63, 64, 65, 66, 67
    .long target_\n - payload_code
    .endr
    .if . - commands != 4 * PAYLOAD_COMMANDS
    .error "the table of commands does not fit their number"
    .endif
payload_code_end:
    .section .note.GNU-stack, "", @progbits
