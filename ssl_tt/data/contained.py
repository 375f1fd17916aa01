"""Folders that were made elsewhere, such as a downloaded run: nothing in them may lead out of them."""

import os
import stat
from pathlib import Path

from ssl_tt.errors import InputError


def check_contained(folder: Path) -> None:
    """InputError if anything under a folder is a link out of it, or neither file nor folder (a pipe would never end).

    So what is read or written by a name inside the folder stays inside. The folder itself may be a link.
    """
    home = os.path.realpath(folder)
    for parent, folders, files in os.walk(folder):  # which follows no links
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:  # another process of this run has renamed or removed it since
                continue
            if stat.S_ISLNK(mode):
                target = os.path.realpath(path)
                if os.path.commonpath([home, target]) != home:
                    raise InputError(
                        f"{path}: a link to {target}, out of {folder}: put what it means there, if you trust it"
                    )
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise InputError(f"{path}: neither file nor folder, expected nothing else in {folder}: remove it")
