"""What the reader of /dev/kmsg reports in place of overwritten records.  Layer: abi, pure."""

RECORDS_LOST = "kernel log records were lost before they were read"
LOST_RECORDS = f"kvmprobe: {RECORDS_LOST}"
