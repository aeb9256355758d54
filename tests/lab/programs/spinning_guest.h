/*
 * A VM whose guest sets a byte in memory again and again: KVM_RUN lasts until a signal ends it.  Checks print "ok NAME (SOURCE)" or
 * "not ok NAME (SOURCE): expected .., observed ..", where SOURCE is a file and a function of the kernel.
 */
#ifndef SPINNING_GUEST_H
#define SPINNING_GUEST_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, VCPUS = 2, FLAG = 0x500, RESET_VECTOR = 0xff0, MOST_ENTRIES = 256 };
#define RESET_PAGE 0xfffff000ull
#define VECTORS (X87 | SSE | AVX)
/* SDM vol.1 §13.4 "XSAVE Area". */
enum { MXCSR_AT = 24, XMM_AT = 160, XMM_SIZE = 256, XSTATE_BV_AT = 512, YMM_AT = 576 };

static int failures, vm, vcpus[VCPUS];
static struct kvm_run *run_areas[VCPUS];
/* Of the guest: the byte is 1 once it runs. */
static volatile u8 *guest_memory;
static u8 *reset_page;

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static void expect(const char *name, const char *source, long expected, long observed)
{
	if (expected == observed) {
		printf("ok %s (%s)\n", name, source);
	} else {
		printf("not ok %s (%s): expected %ld, observed %ld\n", name, source, expected, observed);
		failures++;
	}
	fflush(stdout);
}

static u8 *shared_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		fail("mmap");
	return memory;
}

static void map_page(u32 slot, u64 address, u8 *memory)
{
	struct kvm_userspace_memory_region region = { slot, 0, address, PAGE, (uintptr_t)memory };

	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		fail("KVM_SET_USER_MEMORY_REGION");
}

static void give_cpuid(int kvm, int vcpu)
{
	struct kvm_cpuid2 *table = calloc(1, sizeof *table + MOST_ENTRIES * sizeof(struct kvm_cpuid_entry2));

	table->nent = MOST_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table) < 0 || ioctl(vcpu, KVM_SET_CPUID2, table) < 0)
		fail("CPUID");
	free(table);
}

/* Shared with processes that are forked afterwards. */
static void make_guest_memory(void)
{
	/* In real mode after reset: movb $1, FLAG, and a jump back to it. */
	static const u8 code[] = { 0xc6, 0x06, FLAG & 0xff, FLAG >> 8, 1, 0xeb, 0xf9 };

	guest_memory = shared_memory(PAGE);
	reset_page = shared_memory(PAGE);
	memcpy(reset_page + RESET_VECTOR, code, sizeof code);
}

static void make_vm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm < 0)
		fail("KVM_CREATE_VM");
	map_page(0, 0, (u8 *)guest_memory);
	map_page(1, RESET_PAGE, reset_page);
	for (int i = 0; i < VCPUS; i++) {
		vcpus[i] = ioctl(vm, KVM_CREATE_VCPU, i);
		if (vcpus[i] < 0)
			fail("KVM_CREATE_VCPU");
		give_cpuid(kvm, vcpus[i]);
		run_areas[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpus[i], 0);
	}
}

/* Fills an image of x87, SSE and AVX with bytes that the seed determines; control registers are those of INIT. */
static void make_image(u8 *image, u32 seed)
{
	fill(image, 0, PAGE);
	*(u16 *)image = 0x37f;
	*(u32 *)(image + MXCSR_AT) = 0x1f80;
	scatter(image + XMM_AT, seed, XMM_SIZE);
	scatter(image + YMM_AT, seed + 1, XMM_SIZE);
	*(u64 *)(image + XSTATE_BV_AT) = VECTORS;
}

/* Returns whether two images have the same vector registers. */
static int same_vectors(const u8 *one, const u8 *other)
{
	u64 components = *(u64 *)(one + XSTATE_BV_AT) & *(u64 *)(other + XSTATE_BV_AT);

	return (components & (SSE | AVX)) == (SSE | AVX) && same(one + XMM_AT, other + XMM_AT, XMM_SIZE)
	       && same(one + YMM_AT, other + YMM_AT, XMM_SIZE);
}

static int set_image(int vcpu, u32 seed)
{
	struct kvm_xsave image;

	make_image((u8 *)&image, seed);
	return ioctl(vcpus[vcpu], KVM_SET_XSAVE, &image);
}

/* Returns whether a vCPU has the image of this seed. */
static int has_image(int vcpu, u32 seed)
{
	struct kvm_xsave expected, observed;

	make_image((u8 *)&expected, seed);
	return ioctl(vcpus[vcpu], KVM_GET_XSAVE, &observed) == 0 && same_vectors((u8 *)&expected, (u8 *)&observed);
}

#endif
