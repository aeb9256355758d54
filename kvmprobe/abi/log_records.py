"""What the reader of /dev/kmsg reports in place of overwritten records.  Layer: abi, pure."""

LOST_RECORDS = "kvmprobe: kernel log records were lost before they were read"
