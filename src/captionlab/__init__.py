"""captionlab: an image-captioning experiment framework."""
