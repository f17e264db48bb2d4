"""Where facts are kept: the store protocol, the codec and the stores."""
