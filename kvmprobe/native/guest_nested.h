/* Commands of the guest payload (guest_payload.S) for a nested guest, L2.  It executes the payload as well, with the same
 * memory and descriptors, so that every command can be given to it.  What exits from L2 to the payload in L1 is the result of
 * the command; the next command is then for L1.  PAYLOAD_ENTER_L2 makes a VMCS each time, from constants and the registers
 * that L1 has, so that it needs no state of an earlier entry.  Numbers of fields: SDM vol.3 appendix B. */
#define MSR_FEATURE_CONTROL 0x3a
#define MSR_VMX_SECONDARY 0x48b
#define MSR_VMX_TRUE_PIN 0x48d
#define MSR_VMX_TRUE_PROCESSOR 0x48e
#define MSR_VMX_TRUE_EXIT 0x48f
#define MSR_VMX_TRUE_ENTRY 0x490
#define CR4_VMXE 0x2000

#define FIELD_PIN 0x4000
#define FIELD_PROCESSOR 0x4002
#define FIELD_EXCEPTIONS 0x4004
#define FIELD_EXIT 0x400c
#define FIELD_ENTRY 0x4012
#define FIELD_SECONDARY 0x401e
#define FIELD_INSTRUCTION_ERROR 0x4400
#define FIELD_EXIT_REASON 0x4402
#define FIELD_EXIT_INTERRUPTION 0x4404

/* Secondary controls, MSR bitmaps; XSAVES and XRSTORS; L1 and L2 in 64-bit mode. */
#define PROCESSOR_CONTROLS 0x90000000
#define SECONDARY_CONTROLS 0x00100000
#define LONG_MODE_CONTROL 0x200

.macro vmcs_write field, value
    mov $\field, %r8d
    mov \value, %r9
    vmwrite %r9, %r8
.endm

/* Writes a control field: the wanted bits and those that must be 1, without those that may not be. */
.macro vmcs_control field, msr, wanted
    mov $\msr, %ecx
    rdmsr
    or $\wanted, %eax
    and %edx, %eax
    vmcs_write \field, %rax
.endm

    /* RAX: bitmap of the exceptions that exit; ECX: IA32_VMX_BASIC. */
    target PAYLOAD_ENTER_L2
    mov %rax, %r10
    lea 1f(%rip), %r15
1:  rdmsr                               /* #GP without VMX */
    mov %eax, PAYLOAD_VMXON
    mov %eax, PAYLOAD_VMCS
    mov %cr4, %rbx
    test $CR4_VMXE, %ebx
    jnz 3f
    mov $MSR_FEATURE_CONTROL, %ecx
    rdmsr
    test $1, %al                        /* locked */
    jnz 2f
    mov $5, %eax                        /* locked, VMX outside SMX */
    xor %edx, %edx
    wrmsr
2:  or $CR4_VMXE, %rbx
    mov %rbx, %cr4
    vmxon ADDRESS(vmxon_pointer)
    jbe vmx_failed
3:  vmclear ADDRESS(vmcs_pointer)
    jbe vmx_failed
    vmptrld ADDRESS(vmcs_pointer)
    jbe vmx_failed

    lea vmcs_fields(%rip), %rbx
4:  mov (%rbx), %r8d
    movslq 4(%rbx), %r9
    vmwrite %r9, %r8
    add $8, %rbx
    lea vmcs_fields_end(%rip), %r9
    cmp %r9, %rbx
    jb 4b
    vmcs_write FIELD_EXCEPTIONS, %r10
    .irp half, 0x6800, 0x6c00           /* guest, host */
    vmcs_write \half, %cr0
    vmcs_write \half + 2, %cr3
    vmcs_write \half + 4, %cr4
    .endr
    vmcs_control FIELD_PIN, MSR_VMX_TRUE_PIN, 0
    vmcs_control FIELD_PROCESSOR, MSR_VMX_TRUE_PROCESSOR, PROCESSOR_CONTROLS
    vmcs_control FIELD_SECONDARY, MSR_VMX_SECONDARY, SECONDARY_CONTROLS
    vmcs_control FIELD_EXIT, MSR_VMX_TRUE_EXIT, LONG_MODE_CONTROL
    vmcs_control FIELD_ENTRY, MSR_VMX_TRUE_ENTRY, LONG_MODE_CONTROL
    vmlaunch
vmx_failed:
    mov $FIELD_INSTRUCTION_ERROR, %r8d
    xor %eax, %eax
    vmread %r8, %rax
    mov %rax, RESULT(ERROR_CODE)
    movq $PAYLOAD_VMX_FAILED, RESULT(VECTOR)
    jmp report_no_instruction

in_l2:
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    jmp finished

    /* The processor loads RSP and what descriptors need; other registers are L2's. */
in_l1:
    mov $FIELD_EXIT_REASON, %r8d
    vmread %r8, %r9
    test %r9d, %r9d                     /* an exception, or NMI */
    jnz 5f
    mov $FIELD_EXIT_INTERRUPTION, %r8d
    vmread %r8, %r9
    movzbl %r9b, %r9d
    shl $16, %r9d                       /* its vector */
5:  mov %r9, RESULT(ERROR_CODE)
    movq $PAYLOAD_EXITED, RESULT(VECTOR)
report_no_instruction:
    mov %rax, RESULT(RAX)
    movq $0, RESULT(RIP)
    movq $0, RESULT(RETURNED)
    jmp report

    simple PAYLOAD_VMCALL, vmcall

    .balign 8
vmxon_pointer:
    .quad PAYLOAD_VMXON
vmcs_pointer:
    .quad PAYLOAD_VMCS
    /* Field and value, which is sign-extended.  Fields that are not here are zero, as in fresh memory. */
vmcs_fields:
    .long 0x2004, PAYLOAD_MSR_BITMAP, 0x2800, -1
    .long 0x0800, DATA32, 0x0802, CODE64, 0x0804, DATA32, 0x0806, DATA32, 0x080e, TASK
    .long 0x4800, -1, 0x4802, -1, 0x4804, -1, 0x4806, -1, 0x480e, 0x67
    .long 0x4810, gdt_pointer - gdt - 1, 0x4812, 16 * (VECTORS + 1) - 1
    .long 0x4814, 0xc093, 0x4816, 0xa09b, 0x4818, 0xc093, 0x481a, 0xc093
    .long 0x481c, 0x10000, 0x481e, 0x10000, 0x4820, 0x10000, 0x4822, 0x8b       /* FS, GS, LDTR: unusable */
    .long 0x4824, 0, 0x4826, 0
    .long 0x6814, TSS, 0x6816, ADDRESS(gdt), 0x6818, IDT
    .long 0x681a, 0x400, 0x681c, STACK, 0x681e, ADDRESS(in_l2), 0x6820, 2
    .long 0x0c00, DATA32, 0x0c02, CODE64, 0x0c04, DATA32, 0x0c06, DATA32, 0x0c0c, TASK
    .long 0x6c0a, TSS, 0x6c0c, ADDRESS(gdt), 0x6c0e, IDT
    .long 0x6c14, STACK, 0x6c16, ADDRESS(in_l1)
vmcs_fields_end:
