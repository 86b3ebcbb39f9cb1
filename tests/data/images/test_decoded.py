"""Decoded groups of pictures stay in memory up to a bound."""

from captionlab.data.images.decoded import DecodedGroups


def test_groups_are_kept_up_to_the_bound_and_the_oldest_goes_first():
    kept, decoded = DecodedGroups(most=100), []

    def decode(number: int) -> list[bytes | None]:
        decoded.append(number)
        return [bytes(20), None, bytes(20)]

    for number in (0, 1, 0, 2, 0, 1):
        assert kept.pictures("file", number, decode) == [bytes(20), None, bytes(20)]
    assert decoded == [0, 1, 2, 1]
    kept.pictures("other file", 1, decode)
    assert decoded == [0, 1, 2, 1, 1]


def test_a_group_above_the_bound_is_kept_alone():
    kept, decoded = DecodedGroups(most=100), []

    def decode(number: int) -> list[bytes | None]:
        decoded.append(number)
        return [bytes(200)]

    for number in (0, 0, 1, 1, 0):
        kept.pictures("file", number, decode)
    assert decoded == [0, 1, 0]
