from kvmprobe.lab import bochs_config


def test_the_machine_is_described_as_asked_for():
    ram = [(0x90000, "/low"), (0x1000000, "/kernel")]
    lines = bochs_config.text(512, 2, "/rom", "/console", ram).splitlines()
    assert any(line.startswith("cpu: model=sapphire_rapids, count=1:2:1,") for line in lines)
    assert "memory: guest=512, host=512" in lines
    assert "romimage: file=/rom" in lines
    assert "com1: enabled=1, mode=file, dev=/console" in lines
    assert lines[-2:] == [
        "optramimage1: file=/low, address=0x90000",
        "optramimage2: file=/kernel, address=0x1000000",
    ]


def test_no_feature_of_the_processor_is_hidden_but_one():
    (line,) = [
        line for line in bochs_config.text(64, 1, "/rom", "/c", []).splitlines() if "cpu:" in line
    ]
    assert line.split("exclude_features=")[1] == '"la57"'
