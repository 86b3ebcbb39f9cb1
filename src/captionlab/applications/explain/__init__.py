"""Why this word: which parts of a picture a captioner's words rest on."""
