"""What `pytest --nbval-lax --nbval-current-env notebooks` is to leave alone."""

collect_ignore_glob = ["solutions/*", "source/*"]
