"""Makes a copy of the Autobahn test suite that Python 3 can run.

Usage: python port.py DESTINATION, inside an environment that has `autobahntestsuite` and `fissix`.

Only the cases, their list and the fuzzing client are taken; reports, servers and the WAMP parts stay behind. What the
suite needs beyond a mechanical translation is listed in EDITS, each with its reason. An edit that finds nothing to change
is an error: the suite is then another one than this port was made for.
"""

import importlib.util
import pathlib
import re
import shutil
import sys
import warnings

from fissix import refactor

# (files, pattern, replacement, reason); applied before the mechanical translation.
EDITS = [
    ("case/*.py", r"\bbinascii\b", "latin1", "its functions take bytes now; latin1.py takes both"),
    ("fuzzing.py", r"\bbinascii\b", "latin1", "likewise"),
    ("case/*.py", r"autobahn\.websocket\.utf8validator", "latin1", "the validator takes bytes now"),
    ("case/*.py", r"\(object, Case\b", "(Case", "every class is an object, and none may come before its parent"),
    ("case/*.py", r"len\(self\.payload\) / ", "len(self.payload) // ", "a division of whole numbers"),
    ("case/__init__.py", r"(?m)^.*(9_9_1|12_x_x|12_X_X|13_X_X).*$", "", "an unused case, and compression, which we lack"),
    ("fuzzing.py", r", debug = debug, debugCodePaths = debug", "", "options that the library dropped"),
    ("fuzzing.py", r"from report import (.*\\\n)*.*\n", "", "we write no reports"),
]


def original():
    """The folder of the installed suite, found without importing what cannot be imported."""
    spec = importlib.util.find_spec("autobahntestsuite")
    return pathlib.Path(spec.origin).parent


def copy(source, package):
    """Copies the files that are needed, one character for each byte. Their comments hold some UTF-8, which is no loss."""
    shutil.rmtree(package, ignore_errors=True)
    files = [source / "caseset.py", source / "fuzzing.py", *sorted((source / "case").glob("*.py"))]
    unused = {"case9_9_1.py", "case12_x_x.py"}
    for file in files:
        if file.name not in unused:
            target = package / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            text = file.read_bytes().decode("latin-1").replace("\r\n", "\n")
            target.write_text(text, encoding="utf-8")
    (package / "__init__.py").write_text('version = "ported"\n', encoding="utf-8")


def edit(package):
    for files, pattern, replacement, reason in EDITS:
        count = 0
        for file in package.glob(files):
            text, here = re.subn(pattern, replacement, file.read_text(encoding="utf-8"))
            if here:
                file.write_text(text, encoding="utf-8")
                count += here
        if count == 0:
            sys.exit(f"port.py: nothing in {files} matches {pattern!r} ({reason}); is this another version of the suite?")


def translate(package):
    """Python 2 to 3, as far as a machine can: print, relative imports, xrange, has_key and so on."""
    warnings.simplefilter("ignore")
    tool = refactor.RefactoringTool(refactor.get_fixers_from_package("fissix.fixes"))
    for file in sorted(package.rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        file.write_text(str(tool.refactor_string(text + "\n", str(file))), encoding="utf-8")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    package = pathlib.Path(sys.argv[1]) / "autobahntestsuite"
    copy(original(), package)
    edit(package)
    translate(package)


if __name__ == "__main__":
    main()
