"""Where the program `bise` is."""

import os
import shutil
import sysconfig
from pathlib import Path


def find(named: str | None = None) -> str:
    """The path of the program: what is named, or `BISE_PROGRAM`, or else the script `bise` of this
    Python environment.

    Raises FileNotFoundError when there is none, or no program at the path.
    """
    for origin, path in (("program", named), ("BISE_PROGRAM", os.environ.get("BISE_PROGRAM"))):
        if path:
            found = shutil.which(path)
            if found is None:
                raise FileNotFoundError(f"{origin}: there is no program at {path!r}")
            return found
    scripts = Path(sysconfig.get_path("scripts"))
    found = shutil.which("bise", path=str(scripts))
    if found is None:
        raise FileNotFoundError(
            f"there is no program bise in {scripts}: pip install bise there, or name another one "
            "by the option program or by BISE_PROGRAM"
        )
    return found
