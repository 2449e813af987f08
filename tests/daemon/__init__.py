"""The loop and what carries out its effects, with ports that do as they are told."""
