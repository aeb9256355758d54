/*
 * The emulated host's firmware: from the reset vector to the kernel's 64-bit entry point.
 *
 * The emulator loads kernel, initramfs, ACPI tables and boot_params into RAM before the processor
 * starts (kvmprobe/lab/boot_image.py), so there is no disk, boot loader or BIOS service.  The firmware
 * does what Linux expects: memory type write-back on every processor, the power management timer
 * mapped at 0xb000, interrupt controllers masked.  64 KiB, ends at 4 GiB.
 *
 * The kernel's entry address is in boot_params.hdr.code32_start (0x214), which 64-bit entry ignores.
 * See Documentation/arch/x86/boot.rst "64-bit Boot Protocol".
 */
#define ROM_BASE    0xffff0000
#define BOOT_PARAMS 0x90000
#define OTHERS_PAGE 0xff        /* page of `others` below 1 MiB */
#define SEL_CODE32  0x08
#define SEL_CODE64  0x10        /* __BOOT_CS */
#define SEL_DATA    0x18        /* __BOOT_DS */

	.text
	.code16
start16:
	cli
	lgdtl	%cs:gdt_pointer - rom_start
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$SEL_CODE32, $start32

	.code32
start32:
	movw	$SEL_DATA, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss

	movb	$2, %al                 /* A20 on */
	outb	%al, $0x92
	movb	$0xff, %al              /* both interrupt controllers masked */
	outb	%al, $0x21
	outb	%al, $0xa1

	movw	$0xcf8, %dx             /* PIIX3 function 3: power management base 0xb000, enabled */
	movl	$0x80000b40, %eax
	outl	%eax, %dx
	movw	$0xcfc, %dx
	movl	$0x0000b001, %eax
	outl	%eax, %dx
	movw	$0xcf8, %dx
	movl	$0x80000b80, %eax
	outl	%eax, %dx
	movw	$0xcfc, %dx
	movb	$0x01, %al
	outb	%al, %dx

	movl	$0x2ff, %ecx            /* IA32_MTRR_DEF_TYPE: enabled, write-back */
	xorl	%edx, %edx
	movl	$0x806, %eax
	wrmsr
	movl	$0xc4600 + OTHERS_PAGE, 0xfee00300      /* SIPI to the other processors, which wait for it after reset */

	movl	%cr4, %eax              /* physical address extension */
	orl	$0x20, %eax
	movl	%eax, %cr4
	movl	$page_map, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx       /* EFER.LME */
	rdmsr
	orl	$0x100, %eax
	wrmsr
	movl	%cr0, %eax              /* paging on, caches on */
	andl	$0x9fffffff, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	ljmpl	$SEL_CODE64, $start64

	.code64
start64:
	movl	$BOOT_PARAMS, %esi
	movl	0x214(%rsi), %eax
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	xorl	%edi, %edi
	jmp	*%rax

	.balign	8
gdt:	/* accessed bits are set, since the processor cannot write to this ROM */
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00af9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt

	/* Identity map of 4 GiB in 1 GiB pages; accessed and dirty are set for the same reason. */
	.balign	4096
page_map:
	.quad	page_directory + 0x23
	.balign	4096
page_directory:
	.quad	0x000000e3, 0x400000e3, 0x800000e3, 0xc00000e3
	.balign	4096

	/* Entry of the other processors: set the memory type, and wait.  The ROM is mapped at 0xf0000 as well. */
	.org	0xf000
	.code16
others:
	cli
	movl	$0x2ff, %ecx
	xorl	%edx, %edx
	movl	$0x806, %eax
	wrmsr
1:	hlt
	jmp	1b

	.org	0xfff0
	.code16
	jmp	start16
	.org	0x10000
	.globl	rom_start
	.set	rom_start, ROM_BASE
