import gzip
import logging
import pickle
import re

import numpy as np
import pytest
import torch

from captionlab.build import Sizes, build_captioner
from captionlab.core.errors import UserError
from captionlab.inference.weights import without_downloads
from captionlab.text.word_vectors import fill, read_word_vectors
from tests_support import tiny_config

WORDS = ("", "", "", "", "dog", "paris", "sky", "dog")
VECTORS = {"Paris": [1.0, 2.0], "dog": [3.0, -4.5], "the": [0.0, 0.5], "Dog": [9.0, 9.0]}
WIDTH = 2


def _text(header: bool) -> bytes:
    lines = [f"{word} {' '.join(map(str, v))}\n" for word, v in VECTORS.items()]
    return ((f"{len(VECTORS)} {WIDTH}\n" if header else "") + "".join(lines)).encode()


def _binary(end: bytes) -> bytes:
    entries = [
        word.encode() + b" " + np.array(v, "<f4").tobytes() + end for word, v in VECTORS.items()
    ]
    return f"{len(VECTORS)} {WIDTH}\n".encode() + b"".join(entries)


FORMS = {
    "glove.txt": _text(header=False),
    "word2vec.txt": _text(header=True),
    "word2vec.bin": _binary(b"\n"),
    "gensim.bin": _binary(b""),
    "glove.txt.gz": gzip.compress(_text(header=False)),
    "word2vec.bin.gz": gzip.compress(_binary(b"\n")),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file_gives_the_same_vectors(tmp_path, name):
    (tmp_path / name).write_bytes(FORMS[name])
    read = read_word_vectors(tmp_path / name, WORDS)
    assert read.ids.tolist() == [4, 5, 7]
    assert read.vectors.tolist() == [[3.0, -4.5], [1.0, 2.0], [3.0, -4.5]]


def test_a_word_of_glove_may_hold_spaces(tmp_path):
    (tmp_path / "glove.txt").write_text("x 1 2 3\n. . . 4 5 6\nsky 7 8 9\n")
    assert read_word_vectors(tmp_path / "glove.txt", WORDS).vectors.tolist() == [[7, 8, 9]]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_of_bert_gives_its_table(tmp_path, name):
    table = {"bert.embeddings.word_embeddings.weight": torch.arange(12.0).reshape(4, 3)}
    (tmp_path / "vocab.txt").write_text("[PAD]\nsky\n##s\ndog\n")
    if name.endswith("bin"):
        torch.save(table, tmp_path / name)
    else:
        pytest.importorskip("safetensors.torch").save_file(table, tmp_path / name)
    read = read_word_vectors(tmp_path, WORDS)
    assert read.ids.tolist() == [4, 6, 7]
    assert read.vectors[0].tolist() == [9, 10, 11]


def test_filling_keeps_the_others_random_at_the_vectors_scale(tmp_path):
    words = ("", "", "", "", *(f"w{i}" for i in range(400)))
    vectors = 0.1 * np.random.default_rng(0).normal(size=(200, 8))
    rows = [f"w{i} {' '.join(f'{x:.6f}' for x in v)}" for i, v in enumerate(vectors)]
    (tmp_path / "glove.txt").write_text("\n".join(rows))
    table = torch.nn.Embedding(404, 8, padding_idx=0).weight
    said = fill(table, tmp_path / "glove.txt", words)
    assert "200 of the vocabulary's 400 words" in said
    np.testing.assert_allclose(table[4:204].detach(), vectors, atol=1e-6)
    assert table[204:].std().item() == pytest.approx(vectors.std(), rel=0.1)
    assert not table[0].any()
    assert table.requires_grad


def _config(path) -> dict:
    return tiny_config(f"model.decoder.embeddings={path}", "model.decoder.embedding=2")["model"]


def test_a_captioner_begins_with_the_vectors_and_says_how_many(tmp_path, caplog):
    path = tmp_path / "glove.txt"
    path.write_bytes(FORMS["glove.txt"])
    with caplog.at_level(logging.INFO, logger="captionlab"):
        captioner = build_captioner(_config(path), Sizes(len(WORDS), 0, WORDS))
    assert captioner.decoder.words.weight[5].tolist() == [1.0, 2.0]
    assert "2 of the vocabulary's 3 words" in caplog.text


def test_a_checkpoint_does_not_want_the_vectors_again(tmp_path):
    bare = without_downloads(_config(tmp_path / "gone.txt"))
    assert build_captioner(bare, Sizes(len(WORDS), 0)).decoder.words.weight.shape == (8, 2)


def test_another_width_is_refused_with_the_key_that_helps(tmp_path):
    (tmp_path / "glove.txt").write_text("dog 1 2 3\n")
    with pytest.raises(UserError, match=r"3 wide.* 2 wide: set model\.decoder\.word_dim=3"):
        build_captioner(_config(tmp_path / "glove.txt"), Sizes(len(WORDS), 0, WORDS))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "neither"),
        (b"no numbers here\n", "neither"),
        (_binary(b"\n")[:20], "neither"),
        (b"house 1 2\n", "none of the vocabulary"),
        (b"dog nan 1\n", "not finite"),
        (b"dog 1e999 1\n", "not finite"),
        (b"4 100000000000\ndog \0\0", "vectors of width 100000000000"),
        (b"4 -2\ndog 1 2\n", "vectors of width -2"),
        (b"999999999999 2\ndog \0\0\0\0\0\0\0\0", "neither"),
        (b"dog 1 2\n" + b"x" * (1 << 20), "a line has no end"),
        (None, "no such file"),
    ],
)
def test_what_holds_no_vectors_is_refused(tmp_path, content, complaint):
    path = tmp_path / "vectors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{re.escape(str(path))}.*{complaint}"):
        read_word_vectors(path, WORDS)


@pytest.mark.parametrize("percent", range(10, 95, 12))
def test_a_packed_file_that_is_cut_is_refused(tmp_path, percent):
    whole = gzip.compress(_text(header=False) * 9)
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) * percent // 100])
    with pytest.raises(UserError, match=r"a\.gz is neither"):
        read_word_vectors(tmp_path / "a.gz", WORDS)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("model.safetensors", b"no tensors", "is no safetensors file"),
        ("model.safetensors", b"\xff" * 64, "is no safetensors file"),
        ("pytorch_model.bin", b"no tensors", "is not a file of PyTorch weights"),
        ("pytorch_model.bin", pickle.dumps(print), "is not a file of PyTorch weights"),
        ("pytorch_model.bin", [1], "has no table"),
        ("pytorch_model.bin", {"word_embeddings.weight": 3}, "no tensor by name"),
        ("pytorch_model.bin", {"word_embeddings.weight": torch.ones(3)}, "is no table of numbers"),
        ("pytorch_model.bin", {"word_embeddings.weight": torch.eye(8).to_sparse()}, "no dense"),
    ],
)
def test_a_folder_whose_table_is_none_is_refused(tmp_path, name, content, complaint):
    (tmp_path / "vocab.txt").write_text("dog\n")
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(UserError, match=complaint):
        read_word_vectors(tmp_path, WORDS)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"vocab\.txt"):
        read_word_vectors(tmp_path, WORDS)
