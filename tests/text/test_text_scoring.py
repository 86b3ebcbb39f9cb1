"""Which tokens count, by language."""

import pytest

from captionlab.core.errors import UserError
from captionlab.text import character_tokens, ptb_tokens, scoring_tokenizer


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("一只狗在草地上跑。", "一 只 狗 在 草 地 上 跑"),
        ("两个穿T恤的男孩,玩iPhone 6！", "两 个 穿 t 恤 的 男 孩 玩 iphone 6"),
        ("ＡＢＣ１２ ﾊﾛｰ 〇 々", "abc12 ハ ロ ー 〇 々"),
        ("“狗”——（猫）……、《书》", "狗 猫 书"),
        ("𠮷野家 🐕 한국 café", "𠮷 野 家 한 국 café"),
        (" \r\n\u2028\x00\ud800", ""),
    ],
)
def test_chinese_is_counted_by_the_character(text, tokens):
    assert character_tokens(text) == tokens.split()


def test_each_language_has_its_rule():
    assert scoring_tokenizer("en") is ptb_tokens
    assert scoring_tokenizer("de")("Über Größe, Maß.") == ["über", "größe", "maß"]
    assert scoring_tokenizer("zh") is character_tokens


def test_an_unknown_language_is_refused():
    with pytest.raises(UserError, match=r"data\.language='fr'.*de, en, zh"):
        scoring_tokenizer("fr")
