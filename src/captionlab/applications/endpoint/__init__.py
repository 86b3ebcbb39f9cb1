"""Captions of any vision-language model behind an OpenAI-compatible server (vLLM, Ollama, LM Studio)."""
