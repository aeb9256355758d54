"""A scheduler in this process is for this process."""

import ipaddress

import psutil

from kvmprobe.fleet.cluster import connected


def test_no_other_machine_can_connect_to_it():
    with connected("", None) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        here = psutil.Process().net_connections("inet")
        listening = [each.laddr.ip for each in here if each.status == psutil.CONN_LISTEN]
    assert [ip for ip in listening if not ipaddress.ip_address(ip).is_loopback] == []
