import random

import numpy as np
import pytest

from captionlab.metrics import PreparedReferences, RougeL, SplitScorer, bleu


def random_split(seed, images=40, longest=90):
    draw = random.Random(seed)
    words = ["a", "b", "c", "d", "é", "人", "e", "f"]

    def caption():
        return " ".join(draw.choice(words) for _ in range(draw.randrange(longest)))

    references = {i: [caption() for _ in range(draw.randint(1, 5))] for i in range(images)}
    return references, {i: caption() + " new" * draw.randrange(3) for i in references}


@pytest.mark.parametrize("seed", range(3))
def test_random_captions_score_as_in_coco_caption(seed, assert_same_scores):
    # captions of up to 90 words: beyond one machine word; empty ones, words without reference
    assert_same_scores(*random_split(seed))


def test_500_real_images_score_as_in_coco_caption(flickr8k, assert_same_scores):
    split = {i: [c.lower() for c in flickr8k[i]] for i in list(flickr8k)[:500]}
    assert_same_scores({i: c[1:] for i, c in split.items()}, {i: c[0] for i, c in split.items()})


@pytest.mark.slow
def test_all_real_images_score_as_in_coco_caption(flickr8k, assert_same_scores):
    split = {i: [" ".join(c.lower().split()) for c in flickr8k[i]] for i in flickr8k}
    assert_same_scores({i: c[1:] for i, c in split.items()}, {i: c[0] for i, c in split.items()})


@pytest.mark.slow
@pytest.mark.java
def test_all_raw_captions_score_as_through_java(flickr8k, assert_same_scores, java_tokens):
    ptb_tokens = pytest.importorskip("captionlab.text.ptb").ptb_tokens
    raw_references = {i: c[1:] for i, c in flickr8k.items()}
    raw_captions = {i: c[0] for i, c in flickr8k.items()}
    ours = SplitScorer(raw_references, ptb_tokens)(raw_captions)
    tokenized = java_tokens(flickr8k)
    references = {i: c[1:] for i, c in tokenized.items()}
    assert_same_scores(references, {i: c[0] for i, c in tokenized.items()}, ours)


def test_white_space_inside_a_token_counts_as_in_coco_caption(assert_same_scores):
    # Java's tokenizer keeps "1 1/2" together with a no-break space; n-grams part it, ROUGE does not
    references = {1: ["about 1\xa01/2 miles"], 2: ["1 mile"], 3: ["a b"]}
    assert_same_scores(references, {1: "1\xa01/2 miles", 2: "1\xa01/2 mile", 3: "1 1/2"})


def test_empty_captions_and_references_score_as_in_coco_caption(assert_same_scores):
    references = {1: ["a dog", ""], 2: [""], 3: ["a cat runs"], 4: ["", ""]}
    assert_same_scores(references, {1: "", 2: "", 3: "", 4: "a dog runs here"})


def test_caption_equal_to_its_reference_scores_one():
    prepared = PreparedReferences({1: ["a dog runs far"], 2: ["two cats sleep here"]}, str.split)
    candidates = prepared.candidates([2, 1], ["two cats sleep here", "a dog runs far"])
    corpus, each = bleu(prepared, candidates)
    np.testing.assert_allclose(corpus, 1)
    np.testing.assert_allclose(each, 1)
    assert RougeL(prepared)(candidates).tolist() == [1, 1]


def test_scores_do_not_depend_on_the_order_of_images():
    references, captions = random_split(7)
    turned = dict(reversed(references.items()))
    first = SplitScorer(references, str.split)(captions)
    second = SplitScorer(turned, str.split)(dict(reversed(captions.items())))
    assert first == second


def test_no_candidates_give_no_scores():
    prepared = PreparedReferences({1: ["a"]}, str.split)
    candidates = prepared.candidates([], [])
    assert bleu(prepared, candidates)[1].shape == (0, 4)
    assert RougeL(prepared)(candidates).shape == (0,)
