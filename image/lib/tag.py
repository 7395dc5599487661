"""Where a release comes from: a clean tree, on the tag of its version, with its whole history."""

from common import REPOSITORY, Failure, run


def git(*command):
    return run("git", "-C", REPOSITORY, *command).decode().strip()


def require_clean():
    """Nothing may be in the release that is in no commit."""
    changed = git("status", "--porcelain", "--untracked-files=normal").splitlines()
    if changed:
        raise Failure("The tree has what no commit has. Commit it or take it away:\n" + "\n".join(changed[:10]))


def require_tag(version):
    tags = git("tag", "--points-at", "HEAD").splitlines()
    if f"v{version}" not in tags:
        raise Failure(f"Cargo.toml says {version}, and the tag v{version} is not on this commit"
                      f"{f' ({chr(44).join(tags)} is)' if tags else ''}. Say: git checkout v{version}, or git tag -s v{version}")


def serial():
    """The number of commits up to this one: each later commit has a larger one, from every clone."""
    if git("rev-parse", "--is-shallow-repository") == "true":
        raise Failure("This clone lacks a part of the history, which is counted. Say: git fetch --unshallow")
    return int(git("rev-list", "--count", "HEAD"))
