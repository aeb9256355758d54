/* The guest agent: where it has what in guest-physical memory, and its commands.  Read by cffi, the C compiler and the
 * assembler, so constants only. */
#define KVMPROBE_AGENT_MEMORY_SIZE 0x20000
#define KVMPROBE_AGENT_CODE 0x8000
#define KVMPROBE_AGENT_COMMAND 0xc000
#define KVMPROBE_AGENT_RESULT 0xc080
#define KVMPROBE_AGENT_COUNTER 0xc100      /* u64: commands carried out in this memory */
#define KVMPROBE_AGENT_DATA 0x10000
#define KVMPROBE_AGENT_DATA_SIZE 0x4000
/* KVM completes an OUT to this port before it exits, so that registers read afterwards are behind it:
 * arch/x86/kvm/x86.c: kvm_fast_pio_out, KVM_X86_QUIRK_OUT_7E_INC_RIP. */
#define KVMPROBE_AGENT_PORT 0x7e
#define KVMPROBE_AGENT_NO_EXCEPTION 0x100
#define KVMPROBE_AGENT_NO_COMMAND 0x101    /* the "vector" of an opcode that there is not */

/* Command: u32 opcode, u32 operand, u64s; the bytes behind it go to the data area. */
#define KVMPROBE_AGENT_COMMAND_SIZE 64
#define KVMPROBE_AGENT_COMMAND_OPERAND 4
#define KVMPROBE_AGENT_COMMAND_RAX 8
#define KVMPROBE_AGENT_COMMAND_RBX 16
#define KVMPROBE_AGENT_COMMAND_RCX 24
#define KVMPROBE_AGENT_COMMAND_RDX 32
#define KVMPROBE_AGENT_COMMAND_OFFSET 40   /* of the memory operand from the data area */

/* Result: u64s, registers as they were behind the command or at the exception. */
#define KVMPROBE_AGENT_RESULT_SIZE 128
#define KVMPROBE_AGENT_RESULT_SEQUENCE 0
#define KVMPROBE_AGENT_RESULT_VECTOR 8
#define KVMPROBE_AGENT_RESULT_ERROR_CODE 16
#define KVMPROBE_AGENT_RESULT_RIP 24       /* of the exception, from the command's first instruction */
#define KVMPROBE_AGENT_RESULT_RAX 32
#define KVMPROBE_AGENT_RESULT_RBX 40
#define KVMPROBE_AGENT_RESULT_RCX 48
#define KVMPROBE_AGENT_RESULT_RDX 56
#define KVMPROBE_AGENT_RESULT_CR0 64
#define KVMPROBE_AGENT_RESULT_CR2 72
#define KVMPROBE_AGENT_RESULT_CR4 80
#define KVMPROBE_AGENT_RESULT_RETURNED 88  /* 1 if there was no exception */

#define KVMPROBE_AGENT_NOP 0
#define KVMPROBE_AGENT_UD2 1
#define KVMPROBE_AGENT_CPUID 2
#define KVMPROBE_AGENT_RDMSR 3
#define KVMPROBE_AGENT_WRMSR 4
#define KVMPROBE_AGENT_READ_CR0 5
#define KVMPROBE_AGENT_WRITE_CR0 6
#define KVMPROBE_AGENT_READ_CR4 7
#define KVMPROBE_AGENT_WRITE_CR4 8
#define KVMPROBE_AGENT_CLTS 9
#define KVMPROBE_AGENT_XGETBV 10
#define KVMPROBE_AGENT_XSETBV 11
#define KVMPROBE_AGENT_XSETBV_CPL3 12
#define KVMPROBE_AGENT_RDPKRU 13
#define KVMPROBE_AGENT_WRPKRU 14
#define KVMPROBE_AGENT_FNINIT 15
#define KVMPROBE_AGENT_FLDCW 16
#define KVMPROBE_AGENT_FNSTCW 17
#define KVMPROBE_AGENT_FNSTSW 18
#define KVMPROBE_AGENT_FNCLEX 19
#define KVMPROBE_AGENT_FNOP 20
#define KVMPROBE_AGENT_FWAIT 21
#define KVMPROBE_AGENT_FLD1 22
#define KVMPROBE_AGENT_FLD 23              /* m80 */
#define KVMPROBE_AGENT_FSTP 24             /* m80 */
#define KVMPROBE_AGENT_FSQRT 25
#define KVMPROBE_AGENT_LDMXCSR 26
#define KVMPROBE_AGENT_STMXCSR 27
#define KVMPROBE_AGENT_SQRTPS 28           /* XMM0 */
#define KVMPROBE_AGENT_LOAD_XMM 29         /* all of them, as the next seven */
#define KVMPROBE_AGENT_STORE_XMM 30
#define KVMPROBE_AGENT_LOAD_YMM 31
#define KVMPROBE_AGENT_STORE_YMM 32
#define KVMPROBE_AGENT_LOAD_ZMM 33
#define KVMPROBE_AGENT_STORE_ZMM 34
#define KVMPROBE_AGENT_LOAD_K 35
#define KVMPROBE_AGENT_STORE_K 36
#define KVMPROBE_AGENT_VZEROALL 37
#define KVMPROBE_AGENT_VZEROUPPER 38
#define KVMPROBE_AGENT_FXSAVE64 39
#define KVMPROBE_AGENT_FXRSTOR64 40
#define KVMPROBE_AGENT_XSAVE64 41          /* RFBM in EDX:EAX, as the next five */
#define KVMPROBE_AGENT_XSAVEC64 42
#define KVMPROBE_AGENT_XSAVES64 43
#define KVMPROBE_AGENT_XSAVEOPT64 44
#define KVMPROBE_AGENT_XRSTOR64 45
#define KVMPROBE_AGENT_XRSTORS64 46
#define KVMPROBE_AGENT_LDTILECFG 47
#define KVMPROBE_AGENT_STTILECFG 48
#define KVMPROBE_AGENT_TILELOADD 49        /* TMM of the operand, stride in RDX, as the next */
#define KVMPROBE_AGENT_TILESTORED 50
#define KVMPROBE_AGENT_TILEZERO 51         /* TMM of the operand */
#define KVMPROBE_AGENT_TILERELEASE 52
#define KVMPROBE_AGENT_TDPBSSD 53          /* TMM0 += TMM1 * TMM2 */
#define KVMPROBE_AGENT_COMMANDS 54
