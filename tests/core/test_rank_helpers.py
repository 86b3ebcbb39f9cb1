"""Without other processes there is one rank, which knows everything."""

from captionlab.core.distributed import all_gather_object, is_distributed, rank, world_size


def test_a_single_process_is_rank_zero_of_one():
    assert not is_distributed()
    assert (rank(), world_size()) == (0, 1)
    assert all_gather_object({"a": 1}) == [{"a": 1}]
