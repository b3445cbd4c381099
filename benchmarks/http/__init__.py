"""How fast kdm serves, beside what one would use instead."""
