"""What `pytest --nbval-lax --nbval-current-env notebooks` is to leave alone."""

import os

os.environ.setdefault("TQDM_DISABLE", "1")  # bars are no output to compare

collect_ignore_glob = ["solutions/*", "source/*"]
