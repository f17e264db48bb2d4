"""``python -m relayline.cli``."""

from relayline.cli import main

if __name__ == "__main__":
    main()
