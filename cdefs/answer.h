/* How the executor's parts tell each other what a call passes and what came of it. */

/* What a call passes: an integer, or where its bytes are and how many. */
struct input {
    size_t argument;
    size_t size;
};

/* A call's result, or why it was not made.  Tasks hand it on, so it has no pointers. */
struct answer {
    long result;
    int held;
    char lacks[128];       /* empty if nothing */
};

static void lack(struct answer *answer, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vsnprintf(answer->lacks, sizeof(answer->lacks), format, values);
    va_end(values);
}
