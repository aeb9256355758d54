/* Fills an output before the call, to show the bytes that the kernel did not write. */
#define CANARY 0xa5


/* The result of a call that was not made because it would kill the host.  No errno is that large. */
#define STOPPED (-4096L)
