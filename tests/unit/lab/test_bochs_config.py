import pytest

from kvmprobe.lab import bochs_config
from kvmprobe.lab.bochs_config import Processors
from kvmprobe.lab.cpu_profile import PROFILES


def test_the_machine_is_described_as_asked_for():
    ram = [(0x90000, "/low"), (0x1000000, "/kernel")]
    lines = bochs_config.text(512, Processors(2), "/rom", ram).splitlines()
    assert any(line.startswith("cpu: model=sapphire_rapids, count=1:2:1,") for line in lines)
    assert "memory: guest=512, host=512" in lines
    assert "romimage: file=/rom" in lines
    assert "com1: enabled=1, mode=file, dev=/dev/null" in lines
    assert lines[-2:] == [
        "optramimage1: file=/low, address=0x90000",
        "optramimage2: file=/kernel, address=0x1000000",
    ]


def excluded(processors):
    lines = bochs_config.text(64, processors, "/rom", []).splitlines()
    (line,) = [line for line in lines if "cpu:" in line]
    return line.split("exclude_features=")[1]


def test_no_feature_of_the_default_processor_is_hidden_but_one():
    assert excluded(Processors()) == '"la57"'


@pytest.mark.parametrize("name", PROFILES)
def test_another_processor_lacks_more(name):
    profile = PROFILES[name]
    assert excluded(Processors(1, profile)) == f'"la57,{",".join(profile.without)}"'


def test_there_is_no_disk_unless_one_is_named():
    assert "ata0: enabled=0" in bochs_config.text(64, Processors(), "/rom", []).splitlines()


def test_a_disk_is_the_first_channels_master():
    lines = bochs_config.text(64, Processors(), "/rom", [], "/image").splitlines()
    (master,) = [line for line in lines if line.startswith("ata0-master:")]
    assert "type=disk, mode=flat, path=/image" in master
    assert not [line for line in lines if line.startswith("ata0: enabled=0")]
