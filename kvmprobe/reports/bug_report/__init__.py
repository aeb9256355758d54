"""The failure of a scenario as a mail to kernel developers."""
