"""The page for people: its files, and how they are named, compressed and guarded."""
