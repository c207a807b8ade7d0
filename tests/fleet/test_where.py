import pytest

from devicekit.device.inventory import Entry
from devicekit.errors import UsageError
from devicekit.fleet.where import devices_of
from devicekit.profile.lookup import load_profile
from devicekit.profile.schema import Device

MCU = Device(kind="microcontroller")
FLEET = [
    (Entry("desk", "pixel7", "adb:1", ("android", "lab")), load_profile("pixel7")),
    (Entry("rack", "raspberrypi4", "ssh://pi@10.0.0.7", ("linux",)), load_profile("raspberrypi4")),
    (Entry("mcu", "mcu", "host"), load_profile("pixel7").model_copy(update={"device": MCU, "name": "mcu"})),
]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("tag=android", "desk"),
        ("tag=android and ram_mib>=4096", "desk"),
        ("tag != lab", "rack mcu"),
        ("not tag=lab", "rack mcu"),
        ("name=desk or name=rack", "desk rack"),
        ("transport=ssh", "rack"),
        ("kind=microcontroller", "mcu"),
        ("ram_mib>=1", "desk rack"),  # of the microcontroller it is unknown
        ("ram_mib<1000000", "desk rack"),
        ("(name=desk or name=mcu) and not kind=android", "mcu"),
        ("name=desk OR name=rack", "desk rack"),
        ("profile='raspberrypi4'", "rack"),
        ('address="ssh://pi@10.0.0.7"', "rack"),
        ("soc='broadcom bcm2711'", "rack"),
        ("kind = LINUX", "rack"),
    ],
)
def test_a_filter_keeps_what_it_says(where: str, names: str) -> None:
    assert [entry.name for entry, _ in devices_of(FLEET, where)] == names.split()


def test_no_filter_keeps_all() -> None:
    assert devices_of(FLEET, None) == FLEET


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("", "makes no sense"),
        ("tag", "makes no sense"),
        ("tag=", "makes no sense"),
        ("tag=android and", "at its end"),
        ("(tag=android", "makes no sense"),
        ("tag=android name=desk", "at position 13"),
        ("tga=android", 'unknown field "tga"; did you mean tag?'),
        ("ram_mib>=lots", 'ram_mib is a number, found "lots"'),
        ("tag<lab", "tag has no order"),
        ("name=nobody", "leaves none of 3 devices"),
        ("(" * 1500, "makes no sense"),
        ("not " * 400 + "tag=x", "leaves none"),
        ("a" * 3000, "3000 characters"),
        ("name=desk; import os", "makes no sense"),
    ],
)
def test_what_is_no_filter_is_said(where: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        devices_of(FLEET, where)
    assert words in caught.value.message
    assert caught.value.remedy
