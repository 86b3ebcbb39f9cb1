import json
from pathlib import Path

import pytest

from captionlab.core.errors import UserError
from captionlab.data.readers.datasets import Flickr8k, Flickr30k
from captionlab.data.readers.flickr import (
    Flickr8kCaptionsTxt,
    Flickr8kCN,
    Flickr8kPublished,
    Flickr30kPublished,
    captions_txt,
    results_csv,
    token_captions,
)
from captionlab.data.records import drop_missing
from data_support import (
    CAPTIONS,
    FLICKR_SPLITS,
    flickr8k,
    flickr_lines,
    karpathy_json,
    write_images,
    write_text,
)


def test_flickr8k_as_published(tmp_path: Path):
    source = Flickr8kPublished(root=str(flickr8k(tmp_path)))
    assert (source.language, source.splits) == ("en", ("train", "val", "test"))
    counts = [len(drop_missing(source.records(split))) for split in source.splits]
    assert counts == [3, 1, 1]
    record = source.records("test")[0]
    assert (record.image_id, record.captions) == ("5_e.jpg", CAPTIONS)


@pytest.mark.parametrize("folder", ["Images", "Flickr8k_Dataset", "Flicker8k_Dataset"])
def test_the_image_folder_is_found(tmp_path: Path, folder: str):
    (flickr8k(tmp_path) / "Flicker8k_Dataset").rename(tmp_path / folder)
    record = Flickr8kPublished(root=str(tmp_path)).records("val")[0]
    assert record.image == tmp_path / folder / "4_d.jpg"


def test_no_image_folder_gives_the_layout(tmp_path: Path):
    (flickr8k(tmp_path) / "Flicker8k_Dataset").rename(tmp_path / "photos")
    with pytest.raises(UserError, match=r"no image folder.*which holds.*photos.*ROOT/Images/"):
        Flickr8kPublished(root=str(tmp_path))


def test_a_missing_split_list_is_named(tmp_path: Path):
    (flickr8k(tmp_path) / "Flickr_8k.testImages.txt").unlink()
    with pytest.raises(UserError, match=r"no split list \(Flickr_8k.testImages.txt"):
        Flickr8kPublished(root=str(tmp_path))


def test_an_empty_split_list_gives_an_empty_split(tmp_path: Path):
    write_text(flickr8k(tmp_path) / "Flickr_8k.testImages.txt", "\n")
    with pytest.raises(UserError, match=r"Flickr_8k.testImages.txt is empty"):
        Flickr8kPublished(root=str(tmp_path))


def test_an_image_in_two_splits_is_refused(tmp_path: Path):
    write_text(flickr8k(tmp_path) / "Flickr_8k.testImages.txt", "5_e.jpg\n1_a.jpg\n")
    with pytest.raises(UserError, match=r"testImages.txt:2: 1_a.jpg stands in the train split"):
        Flickr8kPublished(root=str(tmp_path))


def test_images_without_captions_are_counted_and_named(tmp_path: Path):
    write_text(flickr8k(tmp_path) / "Flickr8k.token.txt", flickr_lines(["1_a.jpg", "4_d.jpg"]))
    with pytest.raises(UserError, match=r"no caption for 3 of the 5 .*2_b.jpg, 3_c.jpg, 5_e.jpg"):
        Flickr8kPublished(root=str(tmp_path))


def test_a_line_without_tab_gives_file_and_line(tmp_path: Path):
    file = write_text(tmp_path / "a.txt", flickr_lines() + "9_z.jpg#0 A dog")
    with pytest.raises(
        UserError, match=r"a.txt:11: expected IMAGE.jpg#N, a tab and a caption.*cut in half"
    ):
        token_captions(file)


def test_a_caption_number_that_stands_twice_is_refused(tmp_path: Path):
    file = write_text(tmp_path / "a.txt", "a.jpg#0\tA\na.jpg#1\tB\na.jpg#0\tC\n")
    with pytest.raises(UserError, match=r"a.txt:3: a.jpg#0 stands already in line 1"):
        token_captions(file)


def test_the_name_that_no_download_has_is_left_out(tmp_path: Path):
    odd = "2258277193_586949ec62.jpg.1"
    file = write_text(tmp_path / "a.txt", flickr_lines(["1_a.jpg", odd]))
    assert token_captions(file) == {"1_a.jpg": list(CAPTIONS)}


def test_windows_line_ends_and_a_mark_change_nothing(tmp_path: Path):
    text = flickr_lines()
    plain = token_captions(write_text(tmp_path / "a.txt", text))
    odd = write_text(tmp_path / "b.txt", text.replace("\n", "\r\n"), "utf-8-sig")
    assert token_captions(odd) == plain


def test_captions_txt_with_and_without_quotes(tmp_path: Path):
    text = 'image,caption\n1_a.jpg,A dog , a cat .\n1_a.jpg,"A ""big"" dog , a cat ."\n'
    captions = captions_txt(write_text(tmp_path / "captions.txt", text))
    assert captions == {"1_a.jpg": ["A dog , a cat .", 'A "big" dog , a cat .']}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1_a.jpg,A dog\n", r"captions.txt:1: expected the header 'image,caption'"),
        ("image,caption\n1_a.jpg,A dog\n1_a.jpg\n", r"captions.txt:3: no comma"),
    ],
)
def test_a_captions_txt_of_another_form_is_refused(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(UserError, match=sentence):
        captions_txt(write_text(tmp_path / "captions.txt", text))


def reissue(root: Path) -> Path:
    write_text(root / "captions.txt", "image,caption\n" + flickr_lines(form="{0},{2}"))
    write_images(root / "Images", FLICKR_SPLITS)
    return root


def splits_of(source) -> dict[str, str]:
    return {r.image_id: split for split in source.splits for r in source.records(split)}


def test_the_reissue_takes_the_published_split_or_karpathys(tmp_path: Path):
    lists = Flickr8kCaptionsTxt(root=str(reissue(flickr8k(tmp_path / "lists"))))
    assert splits_of(lists) == FLICKR_SPLITS
    root = reissue(tmp_path / "karpathy")
    write_text(root / "dataset_flickr8k.json", json.dumps(karpathy_json("flickr8k", FLICKR_SPLITS)))
    assert splits_of(Flickr8kCaptionsTxt(root=str(root))) == FLICKR_SPLITS


def test_the_reissue_alone_gets_a_hash_split_and_says_so(tmp_path: Path, caplog):
    source = Flickr8k(root=str(reissue(tmp_path)))
    assert sorted(splits_of(source).values()) == ["test", "train", "train", "train", "val"]
    assert "80/10/10 by a hash" in caplog.text


def test_flickr8k_prefers_karpathys_file(tmp_path: Path):
    moved = dict(zip(FLICKR_SPLITS, ["test", "val", "train", "train", "train"], strict=True))
    file = flickr8k(tmp_path) / "dataset_flickr8k.json"
    assert splits_of(Flickr8k(root=str(tmp_path))) == FLICKR_SPLITS
    write_text(file, json.dumps(karpathy_json("flickr8k", moved)))
    assert splits_of(Flickr8k(root=str(tmp_path))) == moved


def test_the_broken_line_of_results_csv_keeps_its_caption(tmp_path: Path):
    text = (
        "image_name| comment_number| comment\n"
        "1.jpg| 0| Two dogs | a cat .\n"
        "2199200615.jpg| 4   A dog runs across the grass .\n"
    )
    assert results_csv(write_text(tmp_path / "results.csv", text)) == {
        "1.jpg": [" Two dogs | a cat ."],
        "2199200615.jpg": ["A dog runs across the grass ."],
    }


def test_another_broken_line_of_results_csv_is_refused(tmp_path: Path):
    text = "image_name| comment_number| comment\n1.jpg| 0| A\n1.jpg A dog\n"
    with pytest.raises(UserError, match=r"results.csv:3: expected IMAGE\| N\| caption"):
        results_csv(write_text(tmp_path / "results.csv", text))


@pytest.mark.parametrize(
    ("name", "head", "form"),
    [
        ("results_20130124.token", "", "{}#{}\t{}"),
        ("results.csv", "image_name| comment_number| comment\n", "{}| {}| {}"),
    ],
)
def test_both_forms_of_flickr30k_take_karpathys_split(tmp_path, name, head, form, caplog):
    write_text(tmp_path / name, head + flickr_lines(form=form))
    write_images(tmp_path / "flickr30k-images", FLICKR_SPLITS)
    Flickr30k(root=str(tmp_path))
    assert "80/10/10 by a hash" in caplog.text
    # as in the published file, fewer images than captions
    known = dict(list(FLICKR_SPLITS.items())[1:])
    data = karpathy_json("flickr30k", known)
    write_text(tmp_path / "dataset_flickr30k.json", json.dumps(data))
    source = Flickr30kPublished(root=str(tmp_path), captions=name)
    assert splits_of(source) == known
    assert source.records("val")[0].captions == CAPTIONS
    assert splits_of(Flickr30k(root=str(tmp_path))) == known


def test_flickr8k_cn_reads_chinese_captions(tmp_path: Path):
    write_text(flickr8k(tmp_path) / "flickr8kzhc.caption.txt", flickr_lines(form="{}#zhc#{} 狗 {}"))
    source = Flickr8kCN(root=str(tmp_path))
    assert source.language == "zh"
    assert source.records("test")[0].captions == ("狗 A dog runs .", "狗 A brown dog is running .")


def test_the_real_flickr8k_is_whole(flickr8k_root: Path):
    captions = token_captions(flickr8k_root / "Flickr8k.token.txt")
    assert len(captions) == 8091
    assert {len(texts) for texts in captions.values()} == {5}
    source = Flickr8k(root=str(flickr8k_root))
    assert [len(source.records(split)) for split in source.splits] == [6000, 1000, 1000]


@pytest.mark.parametrize("reader", [Flickr8k, Flickr8kCN])
def test_the_real_sample_has_926_photographs(flickr8k_root: Path, reader):
    source = reader(root=str(flickr8k_root))
    kept = {s: drop_missing(source.records(s), policy="skip", split=s) for s in source.splits}
    assert {split: len(records) for split, records in kept.items()} == {
        "train": 753,
        "val": 113,
        "test": 60,
    }
