/* State components: SDM vol.1 13.1. */
#define XFEATURE_MASK_FP (1ULL << 0)


#define XFEATURE_MASK_SSE (1ULL << 1)


#define XFEATURE_MASK_YMM (1ULL << 2)


#define XFEATURE_MASK_OPMASK (1ULL << 5)


#define XFEATURE_MASK_ZMM_HI256 (1ULL << 6)


#define XFEATURE_MASK_HI16_ZMM (1ULL << 7)


#define XFEATURE_MASK_PKRU (1ULL << 9)


#define XFEATURE_MASK_XTILE_CFG (1ULL << 17)


#define XFEATURE_MASK_XTILE_DATA (1ULL << 18)


/* MSRs: SDM vol.4. */
#define MSR_IA32_SYSENTER_CS 0x174


#define MSR_IA32_XFD 0x1c4


#define MSR_IA32_XFD_ERR 0x1c5


#define MSR_IA32_PAT 0x277


#define MSR_IA32_U_CET 0x6a0


#define MSR_IA32_S_CET 0x6a2


#define MSR_IA32_PL0_SSP 0x6a4


#define MSR_IA32_PL1_SSP 0x6a5


#define MSR_IA32_PL2_SSP 0x6a6


#define MSR_IA32_PL3_SSP 0x6a7


#define MSR_IA32_INT_SSP_TAB 0x6a8


#define MSR_IA32_XSS 0xda0


/* Offsets in a standard-format XSAVE image: SDM vol.1 13.4. */
#define XSAVE_FCW 0


#define XSAVE_MXCSR 24


#define XSAVE_MXCSR_MASK 28


#define XSAVE_ST 32


#define XSAVE_XMM 160


#define XSAVE_SOFTWARE 464


#define XSAVE_XSTATE_BV 512


#define XSAVE_XCOMP_BV 520


#define XSAVE_RESERVED 528


/* Fills an output before the call, to show the bytes that the kernel did not write. */
#define CANARY 0xa5


/* The result of a call that was not made because it would kill the host.  No errno is that large. */
#define STOPPED (-4096L)
