"""A Debian package of the same program, for a machine that is there already: a Raspberry Pi OS, or (`--deb amd64`) a
small PC."""

import os
import re
import shutil

import keys
from common import IMAGE, REPOSITORY, Failure, reproducible, run, say, source_date

# What of the program's libraries is in which package; anything else would be a surprise.
LIBRARIES = {"libc.so.6": "libc6", "libm.so.6": "libc6", "libgcc_s.so.1": "libgcc-s1",
             "ld-linux-aarch64.so.1": "libc6", "ld-linux-x86-64.so.2": "libc6"}
UNITS = ["soloist.service", "soloist-power.path", "soloist-power.service", "soloist-pair.service", "soloist-pair.path",
         "soloist-pair-settings.service"]
SCRIPTS = ["postinst", "prerm", "postrm"]


def build(binary, architecture, version, out):
    say(f"The Debian package for {architecture}")
    tree = out / "work" / f"deb-{architecture}"
    shutil.rmtree(tree, ignore_errors=True)
    put(binary, tree / "usr/bin/soloist", 0o755)
    systemd = REPOSITORY / "systemd"
    for unit in UNITS:
        put(systemd / unit, tree / "usr/lib/systemd/system" / unit)
    put(systemd / "soloist.sysusers", tree / "usr/lib/sysusers.d/soloist.conf")
    # Not a conffile: the page writes the settings, and no update may ask about them.
    write(settings(), tree / "usr/share/soloist/soloist.toml")
    # By this key it knows an update feed.
    put(keys.public(), tree / "usr/share/soloist/update.pub")
    documents = tree / "usr/share/doc/soloist"
    put(REPOSITORY / "CHANGELOG.md", documents / "NEWS.md")
    put(IMAGE / "deb/copyright", documents / "copyright")
    put(REPOSITORY / "LICENSE-MIT", documents / "LICENSE-MIT")
    for script in SCRIPTS:
        put(IMAGE / "deb" / script, tree / "DEBIAN" / script, 0o755)
    size = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file()) // 1024
    control = (IMAGE / "deb/control").read_text()
    filled = {"VERSION": version, "ARCHITECTURE": architecture, "SIZE": str(size), "LIBRARIES": libraries(binary)}
    for name, value in filled.items():
        control = control.replace(f"@{name}@", value)
    write(control, tree / "DEBIAN/control")
    for path in [tree, *tree.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (source_date(), source_date()))
    package = out / f"soloist_{version}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, package, env=reproducible())
    return package


def put(source, target, mode=0o644):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write(text, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(0o644)


def settings():
    """The box's, but for the page's port: on a machine that is there already, another server may have port 80."""
    lines = (IMAGE / "soloist.toml").read_text().splitlines(keepends=True)
    [of_the_page] = [number for number, line in enumerate(lines) if line.startswith("listen = ") and ":80\"" in line]
    lines[of_the_page - 1] = "# Where the page is. With port 80 a browser needs only the address, if nothing else has that port.\n"
    lines[of_the_page] = '#listen = ["0.0.0.0:8080", "[::]:8080"]\n'
    return "".join(lines)


def libraries(binary):
    """The packages that the program's libraries are in, the C library with the oldest version that has all that is
    used of it."""
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "--wide", "--dynamic", binary).decode()))
    if unknown := needed - LIBRARIES.keys():
        raise Failure(f"The program needs {', '.join(sorted(unknown))}: name the package in image/lib/deb.py.")
    names = sorted({LIBRARIES[library] for library in needed})
    least = {"libc6": f" (>= {oldest_libc(binary)})"}
    return ", ".join(name + least.get(name, "") for name in names)


def oldest_libc(binary):
    """The oldest version of the C library (glibc) with which the program starts."""
    told = run("readelf", "--wide", "--version-info", binary).decode()
    newest = max(tuple(map(int, version.split("."))) for version in re.findall(r"Name: GLIBC_([0-9.]+)", told))
    return ".".join(map(str, newest))
