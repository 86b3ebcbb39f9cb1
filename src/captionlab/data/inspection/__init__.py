"""What is in a data set before a captioner is trained on it: pictures, captions, what is wrong."""
