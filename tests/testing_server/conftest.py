from importlib.util import find_spec

# They come with an extra; without it there is nothing to drive.
SDKS = ("openai", "anthropic", "google.genai", "pydantic_ai")


def is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


collect_ignore = [] if all(map(is_installed, SDKS)) else ["test_sdks.py"]
