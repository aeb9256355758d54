/* A call with live registers (live.c), as live_call.S makes it, and what its registers must be. */
#pragma once
#define LIVE_MASK 0
#define LIVE_LOADED 8
#define LIVE_BEFORE 16
#define LIVE_AFTER 24
#define LIVE_INITIAL 32
#define LIVE_NUMBER 40
#define LIVE_ARGUMENTS 48
#define LIVE_HAS_PKRU 72
#define LIVE_PKRU 76
#define LIVE_SEEN_PKRU 80
#define LIVE_OWN_PKRU 84

#ifndef __ASSEMBLER__
#include <stddef.h>
#include <stdint.h>

/* The areas are images in the standard format. */
struct live_call {
	uint64_t mask;		/* components that XRSTOR and XSAVE are given */
	uint8_t *loaded;	/* before the call */
	uint8_t *before, *after;	/* what XSAVE stores */
	uint8_t *initial;	/* INIT */
	uint64_t number, arguments[3];
	uint32_t has_pkru, pkru, seen_pkru, own_pkru;
};

_Static_assert(offsetof(struct live_call, mask) == LIVE_MASK && offsetof(struct live_call, loaded) == LIVE_LOADED
	       && offsetof(struct live_call, before) == LIVE_BEFORE && offsetof(struct live_call, after) == LIVE_AFTER
	       && offsetof(struct live_call, initial) == LIVE_INITIAL && offsetof(struct live_call, number) == LIVE_NUMBER
	       && offsetof(struct live_call, arguments) == LIVE_ARGUMENTS, "live_call.S has other offsets");
_Static_assert(offsetof(struct live_call, has_pkru) == LIVE_HAS_PKRU && offsetof(struct live_call, pkru) == LIVE_PKRU
	       && offsetof(struct live_call, seen_pkru) == LIVE_SEEN_PKRU
	       && offsetof(struct live_call, own_pkru) == LIVE_OWN_PKRU, "live_call.S has other offsets");

/* Whose registers they are: patterns and lists of changes are apart. */
enum owner { OF_CALLER, OF_COMPETITOR, OWNERS };

/* Numbers of components, and offsets in an image: SDM vol.1 §13.1 "XSAVE-Supported Features", §13.4 "XSAVE Area". */
enum { FP, SSE, PKRU_NR = 9, XTILE_CFG = 17, XTILE_DATA, COMPONENTS = 63 };
enum { FP_POINTERS = 6, MXCSR = 24, MXCSR_MASK = 28, X87_REGISTERS = 32, XMM_REGISTERS = 160, XMM_END = 416, XSTATE_BV = 512 };

/* Of an extended component: bytes in an image. */
struct place {
	uint32_t offset, size;
};

/* live_call.S */
long live_call(struct live_call *call) __attribute__((visibility("hidden")));

/* live.c */
void use_registers_of(enum owner whose, int wanted);
long with_registers(long number, size_t first, size_t second, size_t third);

/* live_pattern.c */
uint64_t enabled_components(void);
size_t find_places(uint64_t enabled);
const struct place *place_of_component(unsigned int nr);
void fill_initial(uint8_t *image);
void fill_pattern(uint8_t *image, uint64_t components, enum owner whose, unsigned int nonce);

/* live_changes.c */
void note_changes(const struct live_call *call, enum owner whose);
#endif
