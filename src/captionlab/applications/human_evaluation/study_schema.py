"""The tables of a study."""

from __future__ import annotations

from captionlab.applications.sqlite_files import Schema

SCHEMA = Schema(
    application_id=0x43_4C_48_45,  # "CLHE"
    version=1,
    statements=(
        "CREATE TABLE settings (id INTEGER PRIMARY KEY CHECK (id = 1), seed INTEGER NOT NULL, "
        "repeat_share REAL NOT NULL CHECK (repeat_share BETWEEN 0 AND 1), "
        "judges_per_pair INTEGER NOT NULL CHECK (judges_per_pair BETWEEN 0 AND 1000000), "
        "rates INTEGER NOT NULL CHECK (rates IN (0, 1))) STRICT",
        "CREATE TABLE pairs (id INTEGER PRIMARY KEY, image TEXT NOT NULL CHECK (length(image) <= 4096), "
        "system_a TEXT NOT NULL CHECK (length(system_a) BETWEEN 1 AND 60), "
        "system_b TEXT NOT NULL CHECK (length(system_b) BETWEEN 1 AND 60), "
        "caption_a TEXT NOT NULL CHECK (length(caption_a) <= 2000), "
        "caption_b TEXT NOT NULL CHECK (length(caption_b) <= 2000), "
        "UNIQUE (image, system_a, system_b)) STRICT",
        "CREATE TABLE showings (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, "
        "judge TEXT NOT NULL CHECK (length(judge) BETWEEN 1 AND 60), "
        "pair INTEGER NOT NULL REFERENCES pairs, swapped INTEGER NOT NULL CHECK (swapped IN (0, 1)), "
        "repeats INTEGER NOT NULL CHECK (repeats IN (0, 1)), time REAL NOT NULL, "
        "UNIQUE (judge, pair, repeats)) STRICT",
        "CREATE TABLE answers (id INTEGER PRIMARY KEY, showing INTEGER NOT NULL REFERENCES showings, "
        "choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'equal')), "
        "correctness_left INTEGER CHECK (correctness_left BETWEEN 1 AND 5), "
        "correctness_right INTEGER CHECK (correctness_right BETWEEN 1 AND 5), "
        "fluency_left INTEGER CHECK (fluency_left BETWEEN 1 AND 5), "
        "fluency_right INTEGER CHECK (fluency_right BETWEEN 1 AND 5), "
        "time REAL NOT NULL, key TEXT NOT NULL UNIQUE CHECK (length(key) <= 100)) STRICT",
    ),
    holds="human evaluation",
)
