"""A demonstration for a Hugging Face Space, or this machine: `pip install ser_gpu gradio`, then run this file.

The header of the Space's README.md is in `gradio_space.md`.
"""

import gradio
import numpy as np

import ser_gpu
from ser_gpu.errors import AudioError

LIMITS = """The model learned from acted speech. On voices that are not acted, or in another language, its answers can
be much worse. Do not decide anything about a person with it."""


def answer(recording: tuple[int, np.ndarray] | None) -> dict[str, float]:
    """The probability of each emotion.

    Args:
        recording: Hz, and samples as Gradio gives them; None where there is none.

    Raises:
        gradio.Error: nothing was recorded, or nobody speaks in it; the message is for people.
    """
    if recording is None:
        raise gradio.Error("Record a sentence, or choose a file, first.")
    try:
        return MODEL.predict(recording).probabilities
    except AudioError as error:
        raise gradio.Error(str(error)) from None


MODEL = ser_gpu.load_model()


def demo() -> gradio.Interface:
    """The page."""
    return gradio.Interface(
        fn=answer,
        inputs=gradio.Audio(sources=["microphone", "upload"], type="numpy", label="Voice"),
        outputs=gradio.Label(label="Emotion"),
        title="Emotion of a voice",
        description=LIMITS,
        flagging_mode="never",
    )


if __name__ == "__main__":
    demo().launch()
