/* The program of a task of the relation EXEC: a complete ELF file, which the executor passes to execveat(2).
 * It writes one answer when it starts, and then one for each request.  Requests arrive on descriptor 0, answers go to
 * descriptor 1:
 *     request: u64 what (0 arch_prctl, 1 sigaltstack), code, argument, bytes, 1 if the argument is those bytes
 *     answer:  u64 result, bytes */
#define ORIGIN 0x400000
#define SYS_read 0
#define SYS_write 1
#define SYS_mmap 9
#define SYS_sigaltstack 131
#define SYS_arch_prctl 158
#define SYS_exit_group 231

#define REQUEST_SIZE 40
#define WHAT 0
#define CODE 8
#define ARGUMENT 16
#define BYTES 24
#define BY_ADDRESS 32
#define ALT_STACK 40                    /* stack_t: address, flags, size */
#define FRAME 64

#define ANSWER_SIZE 16
#define ANSWER ARGUMENT                 /* the result, then BYTES */

    .section .rodata
    .globl task_image, task_image_end
    .hidden task_image, task_image_end

    .balign 16
task_image:
    .ascii "\177ELF"
    .byte 2, 1, 1, 0                    /* 64 bits, little-endian */
    .quad 0
    .word 2, 62                         /* ET_EXEC, EM_X86_64 */
    .long 1
    .quad ORIGIN + start - task_image
    .quad program_headers - task_image, 0
    .long 0
    .word 64, 56, 2, 0, 0, 0
program_headers:
    .long 1, 5                          /* PT_LOAD, readable, executable */
    .quad 0, ORIGIN, ORIGIN
    .quad task_image_end - task_image, task_image_end - task_image, 0x1000
    .long 0x6474e551, 6                 /* PT_GNU_STACK, not executable */
    .quad 0, 0, 0, 0, 0, 16

start:
    sub $FRAME, %rsp
    xor %eax, %eax
answer:
    mov %rax, ANSWER(%rsp)
    mov $1, %edi
    lea ANSWER(%rsp), %rsi
    mov $ANSWER_SIZE, %edx
    mov $SYS_write, %eax
    syscall
    xor %edi, %edi
    mov %rsp, %rsi
    mov $REQUEST_SIZE, %edx
    mov $SYS_read, %eax
    syscall
    cmp $REQUEST_SIZE, %rax
    jne end
    cmpq $0, WHAT(%rsp)
    jne alt_stack
    mov CODE(%rsp), %rdi
    mov ARGUMENT(%rsp), %rsi
    cmpq $0, BY_ADDRESS(%rsp)
    je 1f
    lea BYTES(%rsp), %rsi
1:  mov $SYS_arch_prctl, %eax
    syscall
    jmp answer

alt_stack:
    xor %edi, %edi
    mov ARGUMENT(%rsp), %rsi
    mov %rsi, ALT_STACK + 16(%rsp)
    or $1, %rsi                         /* mmap() refuses the size 0 */
    mov $3, %edx                        /* PROT_READ, PROT_WRITE */
    mov $0x22, %r10d                    /* MAP_PRIVATE, MAP_ANONYMOUS */
    mov $-1, %r8
    xor %r9d, %r9d
    mov $SYS_mmap, %eax
    syscall
    cmp $-4096, %rax
    ja answer
    mov %rax, ALT_STACK(%rsp)
    movq $0, ALT_STACK + 8(%rsp)
    lea ALT_STACK(%rsp), %rdi
    xor %esi, %esi
    mov $SYS_sigaltstack, %eax
    syscall
    jmp answer

end:
    mov $SYS_exit_group, %eax
    xor %edi, %edi
    syscall
task_image_end:
    .section .note.GNU-stack, "", @progbits
