"""The conversation machine. The README beside this file states its one rule."""
