from collections import Counter

from captionlab.text.ptb import ptb_tokens


class Tokenizer:
    pass


class R:
    def __str__(self):
        return "stub"

    def as_dict(self):
        return {"size": 1}


class WordTokenizer:
    kind = "word"
    pad_id, bos_id, eos_id, unk_id = 0, 1, 2, 3

    def __init__(self, w):
        self.w = w
        self.i = {x: k for k, x in enumerate(w)}

    @classmethod
    def fit(cls, captions, *, threshold: int = 5, max_size: int | None = None):
        c = Counter(t for s in captions for t in ptb_tokens(s))
        return cls(
            ["<pad>", "<bos>", "<eos>", "<unk>"] + sorted(t for t, n in c.items() if n >= threshold)
        )

    def __len__(self):
        return len(self.w)

    def encode(self, t):
        return [self.i.get(x, 3) for x in ptb_tokens(t)]

    def decode(self, ids):
        o = []
        for i in ids:
            if i == 2:
                break
            if i > 1:
                o.append(self.w[i])
        return " ".join(o)

    def to_dict(self):
        return {"kind": "word", "w": self.w}

    def report(self, c):
        return R()


def tokenizer_from_dict(d):
    return WordTokenizer(d["w"])


def scoring_tokenizer(l):
    return ptb_tokens
