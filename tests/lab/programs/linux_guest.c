/*
 * Boots a Linux kernel as a KVM guest, by the same boot image and 64-bit entry as the emulated host's own kernel:
 *
 *   linux_guest MIB ADDRESS=FILE...
 *
 * Its memory of MIB megabytes holds each file at its address (hexadecimal), boot parameters at 0x90000 among them.
 * What the guest writes to port 0x5e0 goes to standard output, its first serial port to standard error; a write
 * to port 0x5e1 ends it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#define BOOT_PARAMS 0x90000ul
#define PAGE_MAP 0x8000ul
#define DESCRIPTORS 0x7000ul
#define SERIAL 0x3f8
#define PM_TIMER 0xb008
#define CHANNEL 0x5e0
#define CONTROL 0x5e1

static uint8_t *memory;

static long must(long result, const char *what)
{
	if (result >= 0)
		return result;
	fprintf(stderr, "linux_guest: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void load(const char *argument)
{
	char *end;
	unsigned long address = strtoul(argument, &end, 16);
	int file = must(open(end + 1, O_RDONLY), end + 1);
	ssize_t got;

	while ((got = must(read(file, memory + address, 1 << 20), end + 1)) > 0)
		address += got;
	close(file);
}

/* Identity map of 4 GiB in 1 GiB pages, flat segments. */
static void build_tables(void)
{
	uint64_t *map = (uint64_t *)(memory + PAGE_MAP), *directory = map + 512;
	uint64_t *descriptors = (uint64_t *)(memory + DESCRIPTORS);

	map[0] = (PAGE_MAP + 4096) | 3;
	for (uint64_t i = 0; i < 4; i++)
		directory[i] = i << 30 | 0x83;
	descriptors[2] = 0x00af9b000000ffff; /* __BOOT_CS */
	descriptors[3] = 0x00cf93000000ffff; /* __BOOT_DS */
}

static void set_registers(int vcpu)
{
	struct kvm_segment code = { .limit = ~0u, .selector = 16, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .limit = ~0u, .selector = 24, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_regs regs = { .rflags = 2, .rsi = BOOT_PARAMS };
	struct kvm_sregs sregs;

	regs.rip = *(uint32_t *)(memory + BOOT_PARAMS + 0x214);
	must(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt = (struct kvm_dtable){ .base = DESCRIPTORS, .limit = 31 };
	sregs.cr0 = 0x80000011;
	sregs.cr3 = PAGE_MAP;
	sregs.cr4 = 0x20;
	sregs.efer = 0x500;
	must(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static int make_vcpu(int kvm, int vm)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} leaves = { .head = { .nent = 256 } };
	int vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");

	must(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &leaves), "KVM_GET_SUPPORTED_CPUID");
	must(ioctl(vcpu, KVM_SET_CPUID2, &leaves), "KVM_SET_CPUID2");
	return vcpu;
}

static uint32_t pm_timer(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 3579545ull + now.tv_nsec * 3579545ull / 1000000000;
}

/* Just enough of a 16550 to be found and to be ready. */
static uint8_t serial_read(const uint8_t registers[8], int number)
{
	switch (number) {
	case 2:
		return 1;
	case 5:
		return 0x60;
	case 6:
		return registers[4] & 0x10 ? (registers[4] & 3) << 4 | (registers[4] & 0xc) << 4 : 0xb0;
	default:
		return registers[number];
	}
}

static void exchange(struct kvm_run *run)
{
	static uint8_t serial[8];
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned port = run->io.port, size = run->io.size * run->io.count;

	if (run->io.direction == KVM_EXIT_IO_OUT) {
		if (port == CHANNEL) {
			fwrite(data, 1, size, stdout);
		} else if (port == CONTROL) {
			fflush(stdout);
			exit(0);
		} else if (port == SERIAL && !(serial[3] & 0x80)) {
			fwrite(data, 1, size, stderr);
		} else if (port >= SERIAL && port < SERIAL + 8) {
			serial[port - SERIAL] = *data;
		}
		return;
	}
	memset(data, 0xff, size);
	if (port == PM_TIMER && run->io.size == 4)
		*(uint32_t *)data = pm_timer();
	else if (port >= SERIAL && port < SERIAL + 8)
		*data = serial_read(serial, port - SERIAL);
	else if ((port & ~7u) == 0xb000 || port == 0x71)
		memset(data, 0, size);
}

int main(int count, char **words)
{
	uint64_t size = strtoul(words[1], NULL, 10) << 20;
	struct kvm_pit_config timer = { 0 };

	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (int i = 2; i < count; i++)
		load(words[i]);
	build_tables();
	must(syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_GUEST_PERM, 18) ? -1 : 0, "guest permission");
	int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
	int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	struct kvm_userspace_memory_region region = { .memory_size = size, .userspace_addr = (uint64_t)memory };
	must(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	must(ioctl(vm, KVM_CREATE_PIT2, &timer), "KVM_CREATE_PIT2");
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	int vcpu = make_vcpu(kvm, vm);
	struct kvm_run *run = mmap(NULL, must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"),
				   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	set_registers(vcpu);
	for (;;) {
		must(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		if (run->exit_reason == KVM_EXIT_IO) {
			exchange(run);
		} else if (run->exit_reason == KVM_EXIT_MMIO) {
			memset(run->mmio.data, 0xff, sizeof run->mmio.data);
		} else {
			fprintf(stderr, "linux_guest: exit %u\n", run->exit_reason);
			return 3;
		}
	}
}
