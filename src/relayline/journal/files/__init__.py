"""What a file store is made of, from its lines up to its folder. Everything here is synchronous."""
