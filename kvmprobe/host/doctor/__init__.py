"""What a lab wants to know of a host before it leaves it alone with kvmprobe; changes nothing."""
