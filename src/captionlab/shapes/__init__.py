"""The built-in world: scenes, their pictures and sentences that are true of them."""
