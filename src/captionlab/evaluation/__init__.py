"""What a split's captions look like: galleries, attention maps, reports."""
