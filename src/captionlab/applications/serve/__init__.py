"""A captioner behind HTTP: an API, OpenAI's chat completions, and the page where a photo is captioned."""
