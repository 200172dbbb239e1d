import pytest

from ser_gpu import corpora
from ser_gpu.corpora import clip


@pytest.mark.parametrize(
    ("names", "emotion"),
    [
        ("ang,Anger", "angry"),
        ("HAP,joy,exc", "happy"),
        ("ps,Pleasant surprise,pleasant-surprise", "surprised"),
        ("fear,disgusted,neu", "fearful,disgust,neutral"),
        ("sadness, calm ,boredom", "sad,calm,bored"),
        ("Home sick,злость", "home_sick,злость"),
    ],
)
def test_aliases(names, emotion):
    assert {clip.canonical(name) for name in names.split(",")} == set(emotion.split(","))


def test_every_alias_leads_to_a_name_that_stays_and_a_corpus_has_its_own_letters():
    assert all(clip.canonical(emotion) == emotion for emotion in clip.EMOTIONS)
    assert all(clip.canonical(name) == clip.canonical(clip.canonical(name)) for name in clip.ALIASES)
    assert clip.canonical("A", corpora.get("emo_db").emotions) == "fearful"
    assert clip.canonical("A") == "a", "anger or Angst: not for everybody to say"


def test_a_subset_keeps_the_order_and_what_is_not_there_or_empty_is_refused():
    assert clip.subset(["surprise", "neu"], ("neutral", "sad", "surprised")) == ("neutral", "surprised")
    with pytest.raises(ValueError, match="no such emotion: bored; there are neutral, sad"):
        clip.subset(["boredom", "sad"], ("neutral", "sad"))
    for name in ("", "  ", "_", "-", "?", None, float("nan")):
        with pytest.raises(ValueError, match="an emotion needs a name"):
            clip.canonical(name)


def test_quotes_and_ways_to_write_an_accent_make_no_other_name():
    names = ("'sad'", '"Sadness"', "fro\u0308hlich", "fr\u00f6hlich", "very  Sad-ish", "`very_sad_ish`")
    assert list(map(clip.canonical, names)) == ["sad", "sad", "fr\u00f6hlich", "fr\u00f6hlich", *["very_sad_ish"] * 2]


def test_genders():
    found = [clip.gender(text) for text in ("F", "male", "Woman", " ", "unknown", "Other")]
    assert found == ["female", "male", "female", None, None, "other"]
