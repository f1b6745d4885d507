"""Files and images: whole writing, readable errors, pictures for people."""
