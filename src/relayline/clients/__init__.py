"""Chat clients: the models relayline comes with, an optional part per module, none imported before it is asked for."""
