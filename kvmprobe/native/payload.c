/* The content of the guest payload's memory (guest_payload.S). */
#include <string.h>

#include "session.h"

extern const uint8_t payload_reset[] __attribute__((visibility("hidden")));
extern const uint8_t payload_code[] __attribute__((visibility("hidden")));
extern const uint8_t payload_code_end[] __attribute__((visibility("hidden")));

size_t kvmprobe_payload_code_size(void)
{
	return (size_t)(payload_code_end - payload_code);
}

/* Fills PAYLOAD_MEMORY bytes of zeros, and the page of the reset vector that follows them. */
void kvmprobe_payload_fill(uint8_t *memory)
{
	memcpy(memory + PAYLOAD_CODE, payload_code, kvmprobe_payload_code_size());
	memcpy(memory + PAYLOAD_MEMORY + RESET_VECTOR, payload_reset, PAYLOAD_RESET_SIZE);
}
