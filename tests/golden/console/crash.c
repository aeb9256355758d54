// SPDX-License-Identifier: MIT
/*
 * Makes the kernel report one kind of fault: insmod crash.ko kind=NAME.  The console logs in this
 * directory come from it.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <asm/msr.h>

static char *kind = "";
module_param(kind, charp, 0);

static volatile unsigned long *volatile nowhere;
static volatile int zero;
static volatile int index = 9;
static DEFINE_MUTEX(held);

static noinline void crash_null(void)
{
	*nowhere = 1;
}

static noinline void crash_wild(void)
{
	*(volatile int *)0xffffc0dead000000UL = 1;
}

static noinline void crash_noncanonical(void)
{
	*(volatile int *)0xdead000000001000UL = 1;
}

static noinline void crash_execute(void)
{
	static char data[16] = "\xc3";
	void (*volatile call)(void) = (void *)data;

	call();
}

static noinline void crash_bug(void)
{
	BUG();
}

static noinline void crash_warn(void)
{
	WARN(1, "crash: a state that should not be: %d\n", index);
}

static noinline void crash_warn_on(void)
{
	WARN_ON(index);
}

static noinline void crash_divide(void)
{
	index = index / zero;
}

static noinline void crash_opcode(void)
{
	__builtin_trap();
}

static noinline void crash_breakpoint(void)
{
	asm volatile("int3");
}

static noinline int crash_recurse(int n)
{
	volatile char room[512];

	room[n & 511] = n;
	return crash_recurse(n + 1) + room[(n * 7) & 511];
}

static noinline void crash_atomic(void)
{
	preempt_disable();
	msleep(1);
	preempt_enable();
}

static noinline void crash_soft(void)
{
	preempt_disable();
	for (;;)
		index++;
}

static noinline void crash_hard(void)
{
	local_irq_disable();
	for (;;)
		index++;
}

static noinline void crash_rcu(void)
{
	rcu_read_lock();
	for (;;)
		index++;
}

static noinline void crash_hung(void)
{
	mutex_lock(&held);
	mutex_lock(&held);
}

static noinline void crash_use_after_free(void)
{
	int tries;

	for (tries = 0; tries < 100; tries++) {
		volatile char *room = kmalloc(64, GFP_KERNEL);

		kfree((void *)room);
		index = room[8];
		msleep(2);
	}
}

static noinline void crash_out_of_bounds(void)
{
	int tries;

	for (tries = 0; tries < 200; tries++) {
		volatile char *room = kmalloc(64, GFP_KERNEL);

		index = room[64 + index % 2] + room[-1];
		kfree((void *)room);
		msleep(2);
	}
}

static noinline void crash_array(void)
{
	static int values[4];

	values[index & 15] = 1;
}

static noinline void crash_list(void)
{
	static struct list_head head = LIST_HEAD_INIT(head), one, two;

	list_add(&one, &head);
	head.next = &two;
	list_add(&two, &head);
}

static noinline void crash_refcount(void)
{
	static refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static noinline void crash_copy(void)
{
	char *room = kmalloc(64, GFP_KERNEL);
	volatile unsigned long size = 512;

	index = copy_to_user((void __user *)current->mm->start_stack, room, size);
	kfree(room);
}

static noinline void crash_panic(void)
{
	panic("crash: cannot go on");
}

static noinline void crash_msr(void)
{
	wrmsr(0x1c4, 0x20000, 0);
	wrmsr(0x123456, 1, 0);
}

static void fire(struct timer_list *timer)
{
	crash_null();
}

static DEFINE_TIMER(later, fire);

static noinline void crash_interrupt(void)
{
	mod_timer(&later, jiffies + 2);
	msleep(1000);
}

static noinline int loud(void *unused)
{
	int turn;

	for (turn = 0; turn < 4; turn++)
		WARN(1, "crash: thread %d\n", (int)(long)unused);
	while (!kthread_should_stop())
		msleep(10);
	return 0;
}

static noinline void crash_two(void)
{
	long cpu;

	for (cpu = 0; cpu < 2; cpu++) {
		struct task_struct *task = kthread_create(loud, (void *)cpu, "loud/%ld", cpu);

		kthread_bind(task, cpu);
		wake_up_process(task);
	}
	msleep(2000);
}

static noinline int faulty(void *unused)
{
	crash_null();
	return 0;
}

static noinline void crash_two_oopses(void)
{
	long cpu;

	for (cpu = 0; cpu < 2; cpu++) {
		struct task_struct *task = kthread_create(faulty, NULL, "faulty/%ld", cpu);

		kthread_bind(task, cpu);
		wake_up_process(task);
	}
	msleep(2000);
}

static noinline void crash_stack(void)
{
	index = crash_recurse(0);
}

static const struct {
	const char *name;
	void (*crash)(void);
} kinds[] = {
#define KIND(name) { #name, crash_##name }
	KIND(null), KIND(wild), KIND(noncanonical), KIND(execute), KIND(bug), KIND(warn),
	KIND(warn_on), KIND(divide), KIND(opcode), KIND(breakpoint), KIND(stack), KIND(atomic),
	KIND(soft), KIND(hard), KIND(rcu), KIND(hung), KIND(use_after_free), KIND(out_of_bounds),
	KIND(array), KIND(list), KIND(refcount), KIND(copy), KIND(panic), KIND(msr),
	KIND(interrupt), KIND(two), KIND(two_oopses),
};

static int __init crash_init(void)
{
	int number;

	for (number = 0; number < ARRAY_SIZE(kinds); number++)
		if (!strcmp(kinds[number].name, kind))
			kinds[number].crash();
	return -EAGAIN;
}
module_init(crash_init);
MODULE_DESCRIPTION("faults on request");
MODULE_LICENSE("GPL");
