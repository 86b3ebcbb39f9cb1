import contextlib
import io
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

ANNOTATIONS = Path(__file__).parents[2] / "../shared/data/flickr8k/Flickr8k.token.txt"


@pytest.fixture(scope="session")
def flickr8k():
    """Image -> its five captions as published, all 8,092 images."""
    if not ANNOTATIONS.is_file():
        pytest.skip("Flickr8k is not on this machine")
    captions = defaultdict(list)
    for line in ANNOTATIONS.read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions[name.split("#")[0]].append(caption)
    return dict(captions)


@pytest.fixture(scope="session")
def coco_caption():
    """What pycocoevalcap gives: metric -> (corpus, per image in the order of references)."""
    pytest.importorskip("pycocoevalcap")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    def score(references, captions):
        candidates = {i: [captions[i]] for i in references}
        with contextlib.redirect_stdout(io.StringIO()):
            corpus, each = Bleu(4).compute_score(references, candidates)
        scores = {f"bleu_{n + 1}": (corpus[n], np.array(each[n])) for n in range(4)}
        scores["rouge_l"] = Rouge().compute_score(references, candidates)
        scores["cider"] = Cider().compute_score(references, candidates)
        return scores

    return score


@pytest.fixture(scope="session")
def assert_same_scores(coco_caption):
    """Compare SplitScorer with pycocoevalcap on tokenized text: corpus and every image."""
    from captionlab.metrics import SplitScorer

    def check(references, captions, ours=None):
        ours = ours or SplitScorer(references, lambda text: text.split(" "))(captions)
        for name, (corpus, each) in coco_caption(references, captions).items():
            assert ours.corpus[name] == pytest.approx(corpus, abs=1e-6), name
            if name in next(iter(ours.per_image.values())):
                mine = np.array([ours.per_image[i][name] for i in references])
                np.testing.assert_allclose(mine, each, rtol=0, atol=1e-6, err_msg=name)

    return check


@pytest.fixture(scope="session")
def java_tokens():
    """Captions of each image as coco-caption's tokenizer gives them."""
    if shutil.which("java") is None:
        pytest.skip("no Java")
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    return lambda captions: PTBTokenizer().tokenize(
        {i: [{"caption": text} for text in texts] for i, texts in captions.items()}
    )
