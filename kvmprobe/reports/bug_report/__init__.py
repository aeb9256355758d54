"""One scenario's failure as a mail to the kernel's developers."""
