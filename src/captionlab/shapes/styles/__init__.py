"""Three made styles of English captions: how they are written, read, recognized and judged."""

STYLES = ("terse", "ornate", "paragraph")
LONGEST = {"terse": 10, "ornate": 26, "paragraph": 120}  # words
