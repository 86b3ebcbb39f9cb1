"""What training images and their captions say of an image like them."""
