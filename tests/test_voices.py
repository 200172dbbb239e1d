import copy
import dataclasses
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ser_gpu.config import AudioConfig, CnnConfig, ModelConfig
from ser_gpu.corpora.clip import EMOTIONS
from ser_gpu.errors import AudioError
from ser_gpu.model import SpeechEmotionModel
from ser_gpu.stages import cnn, prepared, speaker_norm
from ser_gpu.voices import plan as plans
from ser_gpu.voices.plan import Measured
from ser_gpu.voices.voice import Voice, VoiceError
from tests.conftest import PlainHead, synthetic_voice


def small_model(seed=0):
    torch.manual_seed(seed)
    config = ModelConfig(audio=AudioConfig(clip_seconds=1.0), cnn=CnnConfig(width=4, depth=2))
    model = SpeechEmotionModel(config)
    for layer in speaker_norm.layers(model.cnn):
        torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return small_model()


def recordings(speaker, count=8):
    return [(16_000, synthetic_voice(i % 8, speaker, seed=i)) for i in range(count)]


@pytest.fixture(scope="module")
def alice(model):
    return model.enrol(recordings(1))


@pytest.fixture(scope="module")
def bob(model):
    """With a head, since the emotions are named."""
    return model.enrol(recordings(6), EMOTIONS)


def differ(first, second):
    return max(abs(first.probabilities[label] - second.probabilities[label]) for label in first.probabilities)


def test_a_voice_changes_the_answers_and_not_the_model(model, alice):
    clip = recordings(1)[3]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = model.predict(clip)
    assert differ(model.predict(clip, voice=alice), before) > 1e-3
    assert model.predict(clip) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters()), "it can be trained on"


@pytest.mark.parametrize(("bfloat16", "tolerance"), [(False, 1e-5), (True, 0.02)])
def test_a_voice_is_answered_fast_as_by_the_network_itself(model, alice, bob, bfloat16, tolerance, monkeypatch):
    """Its last layer and its sharpness too. Sums of float32 are in another order; bfloat16 has eight bits."""
    monkeypatch.setattr(prepared, "multiplies_bfloat16", lambda: bfloat16)
    model = copy.deepcopy(model)
    for voice in (alice, bob):
        fast = [model.predict(clip, voice=voice) for clip in recordings(3)]
        with monkeypatch.context() as patch:
            patch.setattr(prepared, "ResidualCnn", PlainHead)  # so that nothing is folded
            own = [copy.deepcopy(model).predict(clip, voice=voice) for clip in recordings(3)]
        assert max(differ(*pair) for pair in zip(fast, own, strict=True)) < tolerance
        many = list(model.predict_many(recordings(3), voice=voice))
        assert max(differ(*pair) for pair in zip(many, own, strict=True)) < tolerance


def test_it_says_how_much_speech_it_got(alice, model, monkeypatch):
    assert (alice.recordings, alice.windows, alice.emotions) == (8, 8, ())
    assert 8 * 0.4 < alice.seconds < 8 * 0.8
    assert any("8 clips with speech may not help; 16" in note for note in alice.notes)
    assert not model.enrol(recordings(1), EMOTIONS).notes, "named emotions help from eight clips on"
    long = model.enrol([synthetic_voice(2, 1, 0, seconds=9.0)])
    assert 8.0 < long.seconds < 9.2, "what windows share is counted once"
    assert long.windows > 16
    monkeypatch.setattr(plans, "MOST_WINDOWS", 4)
    assert model.enrol(recordings(1)).windows == 8, "those beyond the most are thinned, and counted all the same"


def test_clips_that_are_alike_are_said_so(model):
    same = model.enrol([(16_000, synthetic_voice(3, 1, seed=0))] * 20)
    assert any("the clips are alike, 20 of 20 sound" in note for note in same.notes)
    long = [(16_000, synthetic_voice(3, 1, seed=0, seconds=4.0))]
    uneven = model.enrol([(16_000, synthetic_voice(3, 1, seed=0))] * 15 + long)
    assert uneven.windows > uneven.recordings == 16
    assert any("the clips are alike, 16 of 16 sound" in note for note in uneven.notes)
    few, alike = model.enrol(long).notes
    assert few.startswith("8 windows with speech may not help; 16 or more varied ones")
    assert alike.startswith("the windows are alike, 8 of 8 sound")
    named = model.enrol([(16_000, synthetic_voice(3, 1, seed=0))] * 20, emotions="neutral")
    assert named.emotions == ("neutral",)
    assert any("all clips are neutral" in note for note in named.notes)


def test_one_emotion_alone_weighs_less(model, alice):
    population = speaker_norm.population(model.cnn).mean.numpy()
    neutral = model.enrol(recordings(1), ["neutral"] * 8)
    first = speaker_norm.layers(model.cnn)[0].num_features
    moved, held = (np.abs(each.mean - population)[:first].sum() for each in (alice, neutral))
    # 8 / (8 + 16) against 8 / (8 + 8), in the first layer, where both hear the same
    assert held / moved == pytest.approx((8 / 24) / (8 / 16), rel=1e-3)


def test_named_emotions_weigh_the_same(model):
    happy, sad = recordings(1)[2], recordings(1)[3]
    first = speaker_norm.layers(model.cnn)[0].num_features
    uneven = model.enrol([happy, happy, happy, sad], ["happy", "joy", "happy", "sad"])
    even = model.enrol([happy, sad], ["happy", "sad"])
    moved = [each.mean[:first] - speaker_norm.population(model.cnn).mean[:first].numpy() for each in (uneven, even)]
    np.testing.assert_allclose(*(each / np.linalg.norm(each) for each in moved), atol=1e-4)


def test_named_emotions_teach_the_last_layer(model, bob):
    assert bob.head.shape == (8, speaker_norm.head_inputs(model.cnn) + 1)
    known = list(zip(recordings(6), EMOTIONS, strict=True))
    with_head, without = (
        np.mean([np.log(model.predict(clip, voice=voice).probabilities[emotion]) for clip, emotion in known])
        for voice in (bob, dataclasses.replace(bob, head=None))
    )
    assert with_head > without, "on the clips that it was taught with"


def test_what_is_not_named_is_not_unlearnt(model):
    clips = recordings(6)
    assert model.enrol(clips, "sad").head is None
    head = model.enrol([*clips[2:4], *clips[2:4]], ["happy", "sad", "joy", "sad"]).head
    known = [EMOTIONS.index(name) for name in ("happy", "sad")]
    assert np.abs(head[known]).max() > 0
    assert not np.delete(head, known, axis=0).any()


def test_a_network_whose_last_layer_takes_no_head_is_enrolled_without(monkeypatch):
    monkeypatch.setitem(cnn.NETWORKS, "plain", PlainHead)
    model = SpeechEmotionModel(ModelConfig(cnn=CnnConfig(network="plain"))).eval()
    voice = model.enrol(recordings(6), EMOTIONS)
    assert voice.head is None
    assert model.predict(recordings(6)[0], voice=voice) != model.predict(recordings(6)[0])


@pytest.mark.parametrize("count", [3, 16, 96])
def test_the_head_is_the_maximum_of_the_posterior(count):
    """By another optimizer, in the primal form."""
    generator = np.random.default_rng(0)
    names = [EMOTIONS[i % 5] for i in range(count - 1)] + ["happy"]
    plan = plans.plan([1] * count, names, EMOTIONS)
    features, temperature = np.abs(generator.normal(size=(count, 20))), 0.7
    logits = torch.tensor(generator.normal(size=(count, 8)))
    measured = Measured(None, None, features, (logits / temperature).log_softmax(1).numpy())
    found = plans.head(plan, measured, EMOTIONS, temperature)
    known = [i for i, label in enumerate(EMOTIONS) if label in names]
    truth = torch.tensor([known.index(EMOTIONS.index(name)) for name in names])
    inputs = torch.tensor(np.hstack([features, np.ones((count, 1))]))
    scale = plans.sharpness(count, plan.emotions) / temperature
    prior = (plans.HEAD_PRIOR / min(plan.effective, plans.MOST_HEAD_WINDOWS)) ** 2
    head = torch.zeros(8, 21, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([head], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        answers = (scale * (logits + inputs @ head.T))[:, known]
        losses = torch.nn.functional.cross_entropy(answers, truth, reduction="none")
        value = plan.effective * (torch.tensor(plan.weight) * losses).sum() + prior * head.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    # four digits are kept
    np.testing.assert_allclose(found, head.detach().numpy(), rtol=2e-3, atol=2e-4)


def test_predict_many_mixes_voices(model, alice, bob):
    clips = recordings(3)
    voices = [alice, None, bob, alice, None, bob, bob, alice]
    for one, answer in zip(zip(clips, voices, strict=True), model.predict_many(clips, voice=voices), strict=True):
        assert differ(answer, model.predict(one[0], voice=one[1])) < 1e-5


def test_copies_share_tensors_and_sixteen_are_kept(model, alice):
    first = model.with_voice(alice)
    assert model.with_voice(alice) is first
    assert first.with_voice() is first
    own, shared = (each.mel.mel_power.mel_basis for each in (model, first))
    assert own.data_ptr() == shared.data_ptr()
    for _ in range(16):
        model.with_voice(dataclasses.replace(alice))
    assert model.with_voice(alice) is not first


@torch.no_grad()
def test_a_copy_follows_the_weights_and_is_no_part_of_the_model(alice):
    model, clip = small_model(), recordings(3)[0]
    before = model.predict(clip)
    assert model.network_hash == small_model().network_hash == alice.model
    again = pickle.loads(pickle.dumps(model))
    assert again.predict(clip) == copy.deepcopy(model).predict(clip) == before
    assert model.state_dict().keys() == small_model().state_dict().keys()
    model.cnn.members[0].classify.weight.mul_(2)
    assert model.predict(clip) != before
    with pytest.raises(VoiceError, match="enrolled with another model"):
        model.predict(clip, voice=alice)
    model.load_state_dict(again.state_dict())
    assert model.predict(clip) == before
    model.temperature.fill_(2.0)
    assert model.predict(clip).confidence < before.confidence


def test_threads_have_voices_of_their_own(model, alice, bob):
    clip = recordings(2)[0]
    jobs = [alice, None, bob] * 6
    expected = {id(voice): model.predict(clip, voice=voice) for voice in (alice, None, bob)}
    start = threading.Barrier(3)

    def ask(voice):
        start.wait()
        return model.predict(clip, voice=voice)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ask, jobs)) == [expected[id(voice)] for voice in jobs]


def test_enrolment_in_training_mode_is_the_same(alice):
    training = small_model().train()
    voice = training.enrol(recordings(1))
    assert training.training
    assert np.array_equal(voice.mean, alice.mean)
    assert voice.model == alice.model


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda model, voice: model.enrol([]), ValueError, "no recording to enrol"),
        (lambda model, voice: model.enrol(recordings(1), ["sad"]), ValueError, "1 emotions for 8 recordings"),
        (lambda model, voice: model.enrol(recordings(1), "sleepy"), ValueError, "no such emotion: sleepy"),
        (lambda model, voice: model.enrol(recordings(1), ["sad", None] * 4), ValueError, "needs a name, got None"),
        (lambda model, voice: model.enrol([*recordings(1), np.zeros(16_000)]), AudioError, "no speech found"),
        (lambda model, voice: model.enrol("nothing.wav"), AudioError, "nothing.wav: no such file"),
        (lambda model, voice: [*model.predict_many(recordings(1), voice=[voice])], ValueError, "fewer voices than"),
        (
            lambda model, voice: model.predict(recordings(1)[0], voice="a.voice"),
            VoiceError,
            r"model\.enrol gives, got s",
        ),
        (lambda model, voice: small_model(1).predict(recordings(1)[0], voice=voice), VoiceError, "with another model"),
    ],
)
def test_what_cannot_be_is_refused(ask, error, said, model, alice):
    with pytest.raises(error, match=said):
        ask(model, alice)


def test_a_file_gives_the_same_voice_and_is_small(model, alice, bob, tmp_path):
    path, clip, known = tmp_path / "a.voice", recordings(1)[0], [field.name for field in dataclasses.fields(Voice)]
    for voice in (bob, alice):
        voice.save(path)
        again = Voice.load(path)
        assert model.predict(clip, voice=again) == model.predict(clip, voice=voice)
        assert all(np.array_equal(getattr(again, name), getattr(voice, name)) for name in known)
    content = json.loads(path.read_text())
    del content["head"]
    path.write_text(json.dumps(content | {"format_version": 2}))  # which had none
    assert Voice.load(path).head is None
    assert model.predict(clip, voice=Voice.load(path)) == model.predict(clip, voice=alice)
    SpeechEmotionModel().eval().enrol(recordings(1)[:1]).save(tmp_path / "shipped.voice")
    assert (tmp_path / "shipped.voice").stat().st_size < 60_000


def first_is(number):
    return lambda content: {"mean": [number, *content["mean"][1:]]}


# what is changed in a file, and what is said of it
HOSTILE = {
    "a key more": ({"more": 1}, "other keys"),
    "another format": ({"format_version": 1}, "its format is not 3"),
    "another kind": ({"kind": "state_dict"}, "it does not say that it is one"),
    "not finite": (first_is(float("nan")), "mean is no list of finite numbers"),
    "beyond float32": (first_is(1e39), "mean is no list of finite numbers"),
    "a huge number": (first_is(10**400), "mean is no list of finite numbers"),
    "negative": (lambda content: {"variance": [-1.0] * len(content["mean"])}, "the variance is not that"),
    "another shape": (lambda content: {"mean": content["mean"][:-1]}, "the variance is not that"),
    "empty": ({"mean": [], "variance": []}, "mean is no list"),
    "nested": (lambda content: {"mean": [content["mean"]]}, "mean is no list of finite numbers"),
    "true": (first_is(True), "mean is no list of finite numbers"),
    "a text": ({"mean": "x"}, "mean is no list"),
    "counts": ({"windows": -1}, "no whole numbers"),
    "seconds": ({"seconds": float("nan")}, "no positive number"),
    "notes": ({"notes": [1]}, "no texts"),
    "a head without rows": ({"head": []}, "head is no table of finite numbers"),
    "a ragged head": ({"head": [[1.0], [1.0, 2.0]]}, "head is no table"),
    "a head of words": ({"head": [["x"]]}, "head is no table"),
    "no dictionary": (b"[1]", "it does not say that it is one"),
    "deep": (b"[" * 1_000_000, "not a voice file"),  # deeper than Python follows
    "a number of many digits": (b'{"kind": ' + b"9" * 10_000 + b"}", "not a voice file"),
    "no UTF-8": (b"\xff\xfe\x00", "not a voice file"),
    "half of it": (b'{"format_version": 3, "kind": "ser_gpu vo', "not a voice file"),
    "huge": (b" " * (2**24 + 1), "too large"),
    "missing": (None, "no such voice"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(hostile, alice, tmp_path):
    (change, said), path = HOSTILE[hostile], tmp_path / "a.voice"
    if isinstance(change, bytes):
        path.write_bytes(change)
    elif change is not None:
        alice.save(path)
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | (change(content) if callable(change) else change)))
    with pytest.raises(VoiceError, match=said) as caught:
        Voice.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_with_a_voice_the_answers_are_surer_by_the_speech_that_was_enrolled(model, alice, monkeypatch):
    clip, sharpness = recordings(3)[0], alice.sharpness
    found = model.predict(clip, voice=alice)
    assert sharpness == pytest.approx(1 + plans.SHARPENING / 2), "8 windows weigh as much as the population"
    monkeypatch.setattr(plans, "SHARPENING", 0.0)
    plain = model.predict(clip, voice=dataclasses.replace(alice))
    powers = np.array([*plain.probabilities.values()]) ** sharpness
    np.testing.assert_allclose([*found.probabilities.values()], powers / powers.sum(), atol=1e-5)  # float32
