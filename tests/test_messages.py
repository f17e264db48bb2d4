"""Media: what a user may send along, and what stands in its place where only words can."""

import pytest

from relayline.messages import Media, Message, Text
from relayline.messages import user as said

PHOTO = Media.from_bytes(b"png", "image/png", "bike.png")


def test_bytes_are_kept_as_text():
    """What is in a file comes back from its base64."""
    assert (PHOTO.media_type, PHOTO.data, PHOTO.name) == ("image/png", "cG5n", "bike.png")


@pytest.mark.parametrize(
    ("media", "note"),
    [
        (PHOTO, "[image: bike.png]"),
        (Media("audio/wav", data="AA=="), "[audio]"),
        (Media("video/mp4", url="https://a.b/c"), "[video: https://a.b/c]"),
        (Media("application/pdf", data="AA==", name="bill.pdf"), "[file: bill.pdf]"),
    ],
)
def test_a_note_says_what_is_not_shown(media: Media, note: str):
    """Its sort, and its name or where it is."""
    assert media.note == note


def test_a_message_in_words_has_notes_between_its_words():
    """Each on a line of its own; words alone stay as they stand."""
    message = Message("user", (Text("Look: "), Text("here"), PHOTO, PHOTO, Text("Well?")))
    assert message.in_words == "Look: here\n[image: bike.png]\n[image: bike.png]\nWell?"
    assert message.text == "Look: hereWell?"
    assert message.media == (PHOTO, PHOTO)
    assert said("a\n\nb ").in_words == "a\n\nb "


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (Media("png", data="AA=="), "a media type is one like"),
        (Media("/png", data="AA=="), "a media type is one like"),
        (Media("image/png"), "either data or a url"),
        (Media("image/png", data="AA==", url="https://a.b"), "either data or a url"),
        (Media("image/png", url="bike.png"), "a url has a scheme"),
        (Media("image/png", data="A!=="), "is not base64"),
        (Media("image/png", data="\u00e9"), "is not base64"),
    ],
)
def test_what_no_model_could_be_shown_is_said_in_a_sentence(wrong: Media, sentence: str):
    """Not everything that can be written down is an image."""
    assert sentence in (wrong.problem() or "")


def test_what_can_be_shown_has_no_problem():
    """By value or by reference."""
    assert PHOTO.problem() is None
    assert Media("image/png", url="https://a.b/c.png").problem() is None


def test_data_is_not_in_the_representation():
    """A log with a message in it stays readable."""
    assert "cG5n" not in repr(Message("user", (PHOTO,)))
