"""Ways to heal, one file each: a hypothesis in, a whole plan out. None of them acts."""
