"""What every part may use and that knows none of them."""
