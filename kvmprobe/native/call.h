/* A lowered call, as the driver defines it (wire.c). */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Bytes that replace bytes of a captured output or of the run area; a later patch wins. */
struct kvmprobe_patch {
	size_t offset;
	size_t size;
	const uint8_t *bytes;
};

/* A name is NULL if the call has none of that kind; names.c resolves names. */
struct kvmprobe_call {
	unsigned int number;		/* that the driver gave it */
	int kind;			/* KVMPROBE_...: kvmprobe/abi/executor.py */
	int at_page_end;		/* whether input or output ends where accessible memory ends */
	const char *on;			/* descriptor that the call is made on */
	const char *binds;		/* descriptor or task that it creates */
	const char *capture;		/* output that it stores or passes */
	const char *memory;		/* of the guest payload; of an ioctl: it is made while the guest runs */
	const char *by;			/* task that makes it; NULL: the scenario's own process */
	unsigned long request;		/* of the ioctl; code of arch_prctl; slot of memory */
	size_t argument;		/* integer, or address of the input; immediate_exit of KVM_RUN */
	size_t input_size;
	size_t address;			/* guest-physical, of memory; of an ioctl while the guest runs: how that ends */
	size_t patch_count;
	const struct kvmprobe_patch *patches;
	size_t size;			/* of the output */
	const uint8_t *blank;		/* content of the output before the call; NULL: it has none */
	size_t pointer;			/* offset in the output of a pointer into it, if pointee is not 0 */
	size_t pointee;
	uint8_t *output;		/* of the scenario's own copy of the call */
};
