#!/usr/bin/env python3
"""Makes a wheel of the installed program: wheel.py PREFIX OUT_DIR

PREFIX is what `cmake --install` filled. The wheel has the program, and beside it every shared library that it needs and
that is not part of any Linux system (the platform tag's list), found through $ORIGIN. Needs patchelf, ldd, strip and
readelf; the wheel needs nothing but pip."""
import base64
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

# What PEP 600 lets a manylinux wheel expect of the system; libgcc_s and libstdc++ are in it too.
SYSTEM = re.compile(
    r"(linux-vdso|ld-linux.*|libc|libm|libdl|libpthread|librt|libgcc_s|libstdc\+\+|libz)\.so.*"
)
LIBS = "difftune.libs"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def libraries(binary):
    """Paths of all libraries that the loader takes for binary, by the names it asks for."""
    found = {}
    for line in run("ldd", binary).splitlines():
        match = re.match(r"\s*(\S+) => (\S+)", line)
        if not match or SYSTEM.fullmatch(match[1]):
            continue
        if match[2] == "not":
            sys.exit(f"{binary}: {match[1]} is not found")
        found[match[1]] = os.path.realpath(match[2])
    return found


def glibc_needed(binaries):
    """The newest version of glibc that any of them asks for."""
    newest = (2, 17)
    for binary in binaries:
        for version in re.findall(r"GLIBC_(\d+)\.(\d+)", run("readelf", "-W", "--version-info", binary)):
            newest = max(newest, tuple(map(int, version)))
    return newest


def licences(names):
    """The copyright files of the Debian packages that the libraries came from."""
    found = {}
    for path in names:
        # A library below /usr/lib may be known to dpkg below /lib.
        for known in (path, path.removeprefix("/usr")):
            answer = subprocess.run(["dpkg", "-S", known], capture_output=True, text=True)
            if answer.returncode == 0:
                package = answer.stdout.split(":")[0]
                found[package] = f"/usr/share/doc/{package}/copyright"
                break
    return {package: path for package, path in found.items() if os.path.exists(path)}


def digest(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def gather(prefix, work):
    """Copies program and libraries into work, without symbols, and tells each where the libraries are: beside the
    package, whose folder has the program. What pip puts into bin/ (LAUNCHER) becomes that program, because a way from
    bin/ to the libraries has the version of Python in it."""
    program = os.path.join(work, "difftune")
    shutil.copy(os.path.join(prefix, "bin/difftune"), program)
    found = libraries(program)
    for name, path in found.items():
        copy = os.path.join(work, name)
        shutil.copy(path, copy)
        os.chmod(copy, 0o755)
    for name in ["difftune", *found]:
        file = os.path.join(work, name)
        run("strip", "--strip-unneeded", file)
        run("patchelf", "--set-rpath", f"$ORIGIN/../{LIBS}" if name == "difftune" else "$ORIGIN", file)
    return found


LAUNCHER = """\
#!python
import os
import sys

import difftune

program = os.path.join(os.path.dirname(difftune.__file__), "difftune")
os.execv(program, [sys.argv[0], *sys.argv[1:]])
"""

MODULE = '''\
"""difftune is a program; this package holds it for pip. `difftune help` on the command line says what it does."""
'''


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    prefix, out_dir = sys.argv[1:]
    version = run(os.path.join(prefix, "bin/difftune"), "--version").split()[1]
    with tempfile.TemporaryDirectory() as work:
        found = gather(prefix, work)
        names = ["difftune", *found]
        tag = "py3-none-manylinux_{}_{}_{}".format(
            *glibc_needed(os.path.join(work, name) for name in names), platform.machine())
        info, data = f"difftune-{version}.dist-info", f"difftune-{version}.data"
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        files = {  # name in the wheel: (content, mode)
            "difftune/__init__.py": (MODULE.encode(), 0o644),
            f"{data}/scripts/difftune": (LAUNCHER.encode(), 0o755),
            f"{info}/LICENSE": (open(os.path.join(root, "LICENSE"), "rb").read(), 0o644),
            f"{info}/METADATA": (f"Metadata-Version: 2.1\nName: difftune\nVersion: {version}\n"
                                 "Summary: Diff-Tuning of diffusion models, in C\nLicense: MIT\n"
                                 "Requires-Python: >=3.6\n".encode(), 0o644),
            f"{info}/WHEEL": (f"Wheel-Version: 1.0\nGenerator: difftune packaging\nRoot-Is-Purelib: false\n"
                              f"Tag: {tag}\n".encode(), 0o644),
        }
        for name in names:
            folder = "difftune" if name == "difftune" else LIBS
            files[f"{folder}/{name}"] = (open(os.path.join(work, name), "rb").read(), 0o755)
        for package, path in licences(found.values()).items():
            files[f"{info}/licenses/{package}"] = (open(path, "rb").read(), 0o644)
        for place in ("share/man/man1/difftune.1", "share/bash-completion/completions/difftune",
                      "share/zsh/site-functions/_difftune"):
            files[f"{data}/data/{place}"] = (open(os.path.join(prefix, place), "rb").read(), 0o644)
        recipes = os.path.join(prefix, "share/difftune/recipes")
        for name in sorted(os.listdir(recipes)):
            files[f"{data}/data/share/difftune/recipes/{name}"] = (
                open(os.path.join(recipes, name), "rb").read(), 0o644)
        write(os.path.join(out_dir, f"difftune-{version}-{tag}.whl"), files, f"{info}/RECORD")


def write(path, files, record):
    lines = [f"{name},{digest(content)},{len(content)}" for name, (content, _) in files.items()]
    files[record] = ("\n".join([*lines, f"{record},,", ""]).encode(), 0o644)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, (content, mode) in files.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))  # the same input makes the same bytes
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, content)
    print(path)


if __name__ == "__main__":
    main()
