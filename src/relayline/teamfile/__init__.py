"""Teams in files: all of a team that is no code, as YAML."""
