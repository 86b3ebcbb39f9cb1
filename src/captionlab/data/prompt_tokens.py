"""A tokenizer of captions and of what is given before them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from captionlab.core.errors import UserError
from captionlab.data.records import CaptionRecord
from captionlab.text.prompts import SIMILAR, control_tokens
from captionlab.text.tokenizers import Tokenizer


def fit_with_prompts(
    fit: Callable[[Iterable[str]], Tokenizer],
    records: Sequence[CaptionRecord],
    *,
    retrieves: bool = False,
) -> Tokenizer:
    """Return a tokenizer of what a captioner of these records will read and write.

    ``fit`` makes one of captions; questions are fitted as captions are, and the control tokens of
    the records' prompts stand behind the words. ``retrieves``: captions of similar images stand
    before each caption as well.
    """
    prompts = {prompt: None for record in records for prompt in record.prompts}
    captions = [caption for record in records for caption in record.captions]
    tokenizer = fit([*captions, *(prompt.question for prompt in prompts if prompt.question)])
    controls = (*control_tokens(prompts), *([SIMILAR] if retrieves else ()))
    return tokenizer.with_controls(controls) if controls else tokenizer


def require_known_prompts(
    records: Sequence[CaptionRecord], tokenizer: Tokenizer, name: str | None
) -> None:
    """Refuse prompts that a tokenizer, which a checkpoint brought, has no tokens for.

    Raises:
        UserError: if there is one among those of the records; ``name`` is that of the data.
    """
    prompts = {prompt for record in records for prompt in record.prompts}
    missing = sorted(set(control_tokens(prompts)) - set(tokenizer.controls))
    if missing:
        raise UserError(
            f"the captioner to start from was trained without {', '.join(missing[:3])}, which the "
            f"data of {name} give before their captions: start from one that was, or say "
            "data.prompts=false"
        )
