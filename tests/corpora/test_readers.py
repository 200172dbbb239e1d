"""Every reader by official names, and by the real files where they are."""

import itertools
from pathlib import Path

import pytest

from ser_gpu import corpora
from ser_gpu.corpora.known import CORPORA, FOREIGN, Corpus
from ser_gpu.corpora.splits import Protocol, protocol_names
from tests.corpora.conftest import touch

# corpus, path in the official archive, id, emotion, speaker, gender, extra fields
OFFICIAL = """
crema_d AudioWAV/1001_IEO_ANG_HI 1001_IEO_ANG_HI angry 1001 male intensity=high
crema_d AudioWAV/1002_DFA_NEU_XX 1002_DFA_NEU_XX neutral 1002 female sentence=DFA
crema_d AudioWAV/1040_ITH_SAD_X 1040_ITH_SAD_X sad 1040 male intensity=
crema_d AudioWAV/1091_TIE_FEA_LO 1091_TIE_FEA_LO fearful 1091 female intensity=low
emo_db wav/03a01Fa 03a01Fa happy 03 male sentence=a01
emo_db wav/16b10Wb 16b10Wb angry 16 female
emo_db wav/08a02La 08a02La bored 08 female
emo_db wav/15a07Ac 15a07Ac fearful 15 male
emo_db wav/10b01Ea 10b01Ea disgust 10 male
emo_db wav/13b09Ta 13b09Ta sad 13 female
emo_db wav/14a05Na 14a05Na neutral 14 female
emovo EMOVO/f1/dis-f1-b1 dis-f1-b1 disgust f1 female sentence=b1
emovo EMOVO/f1/gio-f1-b1 gio-f1-b1 happy f1 female sentence=b1
emovo EMOVO/f1/pau-f1-b1 pau-f1-b1 fearful f1 female sentence=b1
emovo EMOVO/f1/rab-f1-b1 rab-f1-b1 angry f1 female sentence=b1
emovo EMOVO/f1/sor-f1-b1 sor-f1-b1 surprised f1 female sentence=b1
emovo EMOVO/f1/tri-f1-b1 tri-f1-b1 sad f1 female sentence=b1
emovo EMOVO/f1/neu-f1-b1 neu-f1-b1 neutral f1 female sentence=b1
emovo EMOVO/m3/tri-m3-n5 tri-m3-n5 sad m3 male
tess TESS/OAF_angry/OAF_back_angry OAF_back_angry angry OAF female sentence=back
tess TESS/YAF_pleasant_surprised/YAF_gaze_ps YAF_gaze_ps surprised YAF female
tess TESS/YAF_fear/YAF_neat_fear YAF_neat_fear fearful YAF female
tess TESS/OAF_neutral/OA_bite_neutral OAF_bite_neutral neutral OAF female
savee AudioData/DC/a01 DC_a01 angry DC male sentence=a01
savee AudioData/KL/su15 KL_su15 surprised KL male
savee ALL/JE_sa02 JE_sa02 sad JE male
savee ALL/JK_n30 JK_n30 neutral JK male
nemo samples/EB0_anger_1 EB0_anger_1 angry EB0 female sentence=1
nemo samples/MP0_happiness_90 MP0_happiness_90 happy MP0 male
nemo samples/KD0_surprised_7 KD0_surprised_7 surprised KD0 female
ased Neutral/n1-01-01-01-03 n1-01-01-01-03 neutral 03 female sentence=n01 repetition=1
ased Anger/a5-07-02-02-53 a5-07-02-02-53 angry 53 male sentence=07 repetition=2
ased Fear/f2-01-01-02-15 f2-01-01-02-15 fearful 15 female
turev Angry/1157_kz_acik 1157_kz_acik angry 1157 - sentence=acik
turev Calm/6783_sk_yigit 6783_sk_yigit calm 6783 -
turev Sad/7895_hl_ogul1 7895_hl_ogul1 sad 7895 -
urdu Angry/SM1_F10_A010 SM1_F10_A010 angry SM1 male
urdu Sad/SF11_F3_S05 SF11_F3_S05 sad SF11 female
urdu neutral_SM20_F6_N010 neutral_SM20_F6_N010 neutral SM20 male
kes nea/nea00001 nea00001 neutral nea female sentence=00001
kes emf/emf00105 emf00105 happy emf male sentence=p5
kes neo/neo00201 neo00201 angry neo male
kes emb/emb00400 emb00400 sad emb female sentence=p100
kes emc/emc00100 emc00100 neutral emc -
"""
CASES = [tuple(line.split()) for line in OFFICIAL.strip().splitlines()]
PATHS = {name: [path for corpus, path, *_ in CASES if corpus == name] for name in corpora.names() if name != "ravdess"}


@pytest.mark.parametrize("case", CASES, ids=[case[1] for case in CASES])
def test_official_names(case):
    name, path, clip_id, emotion, speaker, gender, *extra = case
    path = Path(f"{path}.wav")
    clip = corpora.get(name).parse(path)
    assert (clip.id, clip.emotion, clip.speaker, clip.gender or "-") == (clip_id, emotion, speaker, gender)
    assert (clip.corpus, clip.path) == (name, path)
    for key, _, value in (field.partition("=") for field in extra):
        assert clip.get(key, "") == value
    assert [other for other in corpora.names() if corpora.get(other).owns(path)] == [name]


@pytest.mark.parametrize("name", corpora.names())
def test_the_example_parses_and_foreign_names_do_not(name):
    corpus = corpora.get(name)
    parent = Path("DC") if name == "savee" else Path()
    assert corpus.parse(parent / corpus.example).corpus == corpus.name == name
    for foreign in ("hello.wav", "a01.wav", "angry_1.wav", "n1-01-01-01.wav", "1001_IEO_QQQ_HI.wav", "kes00000.wav"):
        assert corpus.parse(foreign) == FOREIGN
    assert corpus.title
    assert corpus.licence


@pytest.mark.parametrize("suffix", [".wav", ".opus", ".flac"])
@pytest.mark.parametrize("name", PATHS)
def test_a_folder_is_known_by_its_names(name, suffix, tmp_path):
    assert PATHS[name], "every registered corpus is tested here"
    touch(tmp_path, "note.wav", *(f"{path}{suffix}" for path in PATHS[name]))
    found = corpora.load(tmp_path)
    assert [clip.corpus for clip in found.clips] == [name] * len(PATHS[name])
    assert found.description.startswith(f"{corpora.get(name).title}: {len(PATHS[name])} clips, ")
    assert found.left_out == {"foreign": 1}
    assert corpora.load(tmp_path, name).clips == found.clips


def test_takes_of_one_text_are_a_group():
    for name, *stems in (
        ("emo_db", "03a01Fa", "03a01Fb", "03a01Wa"),
        ("ased", "n1-01-01-01-03", "n1-01-02-01-03", "n1-02-01-01-03"),
        ("turev", "7895_hl_ogul1", "7895_hl_ogul", "7895_kz_ogul"),
    ):
        take, other, another_text = (corpora.get(name).parse(f"{stem}.wav").group for stem in stems)
        assert take == other != another_text


def test_crema_d_has_43_women_of_91_and_its_archive_with_mp3_and_videos_counts_each_clip_once(tmp_path):
    touch(tmp_path, *(f"{kind}/1001_IEO_ANG_HI.{kind[-3:].lower()}" for kind in ("AudioMP3", "AudioWAV", "VideoFLV")))
    found = corpora.load(tmp_path)
    assert [clip.path.parent.name for clip in found.clips] == ["AudioWAV"]
    assert found.left_out == {"duplicate": 1, "video": 1}
    assert found.notice.startswith("1 of the 7,442 CREMA-D clips found")
    assert len({*map(str, range(1001, 1092))}.intersection(corpora.get("crema_d").women.split())) == 43


def test_a_corpus_may_be_spelt_in_many_ways_and_an_unknown_one_is_refused_by_name():
    assert {corpora.get(spelling).name for spelling in ("EMO-DB", "emodb", "Emo_DB", "emo db")} == {"emo_db"}
    with pytest.raises(ValueError, match=r"no such corpus: 'iemocap'; known are ravdess, crema_d, .*own"):
        corpora.load(corpus="iemocap")


def test_a_corpus_without_download_is_found_under_the_folder_of_all_or_not_there(tmp_path, monkeypatch):
    touch(tmp_path / "nEMO" / "EB0_anger_1.opus")
    monkeypatch.setenv("SER_CORPORA_DIR", str(tmp_path))
    assert corpora.load(corpus="nemo").clips[0].path.parent.name == "nEMO"
    with pytest.raises(ValueError, match="TESS cannot be downloaded from here: name its folder"):
        corpora.load(corpus="tess")
    touch(tmp_path / "happy" / "a.wav")
    (tmp_path / "nEMO" / "EB0_anger_1.opus").unlink()
    with pytest.raises(ValueError, match=r"no TESS clip found \(names like OAF_back_angry.wav\); left out: 1 foreign"):
        corpora.load(tmp_path, "tess")


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A new corpus: one entry of the table; the folder of its recordings."""
    pattern = r"(?P<speaker>x[0-9]+)_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})"
    folds = {"ours2": ((("x1",), ("x2",)), (("x3", "x4"), ()))}
    entry = Corpus("Ours", "CC0", "x1_IEO_ANG.wav", pattern, folds=folds)
    monkeypatch.setitem(CORPORA, "ours", entry)
    names = itertools.product(("x1", "x2", "x3", "x4"), ("IEO", "TIE", "DFA"), ("ANG", "HAP"))
    return touch(tmp_path / "ours", *(f"{'_'.join(name)}.wav" for name in names)).parent


def test_a_new_corpus_is_one_entry_and_its_published_folds_are_protocols(ours):
    def speakers(protocol, fold, part="test"):
        return {name[:2] for name in Protocol(protocol, fold).split(found.clips).ids(part)}

    found = corpora.load(ours)
    assert found.description == "Ours: 24 clips, 4 speakers, 2 emotions"
    assert "ours2" in protocol_names()
    assert (speakers("speakers", 3), speakers("ours2", 1)) == ({"x4"}, {"x3", "x4"})
    assert (speakers("ours2", 0), speakers("ours2", 0, "validation")) == ({"x1"}, {"x2"})


def test_several_corpora_together(ours, tmp_path):
    touch(tmp_path, "tess/OAF_back_angry.wav", "tess/odd.wav", "mine/happy/a.wav")
    found = corpora.load_many({"TESS": tmp_path / "tess", "ours": ours, "mine": tmp_path / "mine"})
    of = {clip.id: (clip.speaker, clip.corpus) for clip in found.clips}
    assert (len(of), of["TESS/OAF_back_angry"], of["mine/happy/a"]) == (26, ("TESS/OAF", "tess"), (None, "mine"))
    assert found.left_out == {"foreign": 1}
    assert "1 of the 2,800 TESS clips found" in found.notice
    said = "3 corpora (TESS, Ours, mine): 26 clips, 5 speakers, 2 emotions, the speaker of 1 clip unknown"
    assert found.description == said
    assert corpora.load_many({"tess": tmp_path / "tess", "ours": ours, "mine": tmp_path / "mine"}) == found


def test_one_corpus_alone_keeps_its_ids_and_none_or_one_twice_is_refused(ours):
    assert corpora.load_many({"ours": ours}) == corpora.load(ours)
    with pytest.raises(ValueError, match="named twice: ours, OURS"):
        corpora.load_many({"ours": ours, "OURS": ours})


SIZES = {"tess": 2_800, "savee": 480, "nemo": 4_481, "ased": 2_470, "turev": 1_735, "urdu": 400, "kes": 300}


@pytest.mark.parametrize("name", SIZES)
def test_real_files_agree_with_the_list_beside_them(name, corpora_dir):
    folder = corpora_dir / corpora.get(name).title
    found, listed = corpora.load(folder), corpora.load(folder.with_suffix(".csv"))
    assert (len(found.clips), found.left_out, found.notice) == (SIZES[name], {}, None)
    said = {clip.path.stem: (clip.emotion, clip.speaker.partition("_")[2], clip.gender) for clip in listed.clips}
    assert {clip.path.stem: (clip.emotion, clip.speaker, clip.gender) for clip in found.clips} == said
    assert {clip.corpus for clip in listed.clips} == {name}
