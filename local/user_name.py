"""A name for a user id that has none: in a container started with `--user 12345`, no line of /etc/passwd has that id.

`initdb` and `postgres --single` refuse to work for such a user. A user namespace in which the id is that of `nobody` gives them a
name. It changes nothing else: files belong to the same user as before.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess

from pipeline.errors import ServiceError


def named(command: list[str]) -> list[str]:
    """The command, or one that runs it with a user who has a name. Raises ServiceError if this user has none and can't get one."""
    user = os.geteuid()
    if _has_name(user):
        return command
    unshare = shutil.which("unshare")
    other = next((entry for entry in _with_nobody_first(pwd.getpwall()) if entry.pw_uid not in (0, user)), None)
    if unshare is not None and other is not None:
        prefix = [unshare, "--user", f"--map-user={other.pw_uid}", f"--map-group={other.pw_gid}"]
        if subprocess.run([*prefix, "true"], capture_output=True, cwd="/", check=False).returncode == 0:
            return prefix + command
    raise ServiceError(
        f"the user id {user} has no name on this system, which PostgreSQL needs to make the embedded database: run as a user who has "
        f'one, or let root add it (echo "pipeline:x:{user}:{os.getegid()}::/:/bin/sh" >> /etc/passwd), or set DB_DEV_NAME, DB_USER, '
        "DB_PASSWORD, DB_HOST and DB_PORT to a server of your own"
    )


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _with_nobody_first(entries: list[pwd.struct_passwd]) -> list[pwd.struct_passwd]:
    return sorted(entries, key=lambda entry: entry.pw_name != "nobody")
