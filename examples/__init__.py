"""Teams to run, read and take apart."""
