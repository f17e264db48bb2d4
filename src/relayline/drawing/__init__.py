"""Teams drawn: a small description of who is there and which ways lead where, and what is made of it."""
