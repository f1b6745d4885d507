"""Files, images and figures: atomic writing, reading with clear errors, pictures for people."""
