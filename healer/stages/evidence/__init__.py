"""How evidence is seen, weighed and explained away. Values in, values out."""
