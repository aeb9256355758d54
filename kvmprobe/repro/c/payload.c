/*
 * The guest runs in 64-bit mode.  It reads a command from PAYLOAD_COMMAND, executes its instruction with these registers
 * and the memory operand at PAYLOAD_DATA, writes the registers or the exception to PAYLOAD_RESULT, and exits by OUT to
 * PAYLOAD_PORT.
 */
struct payload_command {
	uint32_t instruction, operand;
	uint64_t rax, rbx, rcx, rdx;
	uint64_t offset; /* of the memory operand, from PAYLOAD_DATA */
	uint8_t reserved[16];
};


static void payload_fill(uint8_t *memory)
{
	memcpy(memory + PAYLOAD_CODE, payload_code, sizeof(payload_code));
	memcpy(memory + PAYLOAD_MEMORY + RESET_VECTOR, payload_reset, sizeof(payload_reset));
}
