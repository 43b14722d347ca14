#!/usr/bin/env python3
"""Runs the Autobahn WebSocket test suite against a server on loopback and judges the outcome.

    run.py --port 9301 --server-command "target/release/examples/echo {port}"

Needs Python 3.9 to 3.12 with venv and pip. The first run installs the suite under target/autobahn; later runs find it
there. The server must echo messages of up to 16 MiB. Without --server-command it must already listen.

Progress goes to stderr. The last line on stdout is the summary. Exit status: 0 if every case went as expected (with all
cases: 298 OK, 0 NON-STRICT, 0 FAILED, 3 INFORMATIONAL), 1 if not, 2 if the suite could not be run.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
WORK_DIR = HERE.parents[1] / "target" / "autobahn"

# All but 12 and 13, which test compression; the server offers none.
ALL_CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
EXPECTED = {"OK": 298, "NON-STRICT": 0, "FAILED": 0, "INFORMATIONAL": 3}
GOOD = ("OK", "INFORMATIONAL")

SERVER_START_S = 10
SHOW_EVERY = 25


class CannotRun(Exception):
    """The suite could not be run; says what to do about it."""


def say(line):
    print(line, file=sys.stderr, flush=True)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="port of the server on 127.0.0.1")
    parser.add_argument("--server-command", help="starts the server; {port} becomes the port; ended afterwards")
    parser.add_argument("--cases", nargs="+", default=ALL_CASES, metavar="CASE", help="ids or patterns such as 6.4.*")
    parser.add_argument("--timeout-s", type=int, default=600, help="longest time for all cases (default: 600)")
    parser.add_argument(
        "--retries",
        type=int,
        default=1,
        help="runs failed cases again, so often (default: 1): some have deadlines that a busy machine misses",
    )
    parser.add_argument("--work-dir", type=pathlib.Path, default=WORK_DIR, help="where the suite is installed")
    parser.add_argument("--install-only", action="store_true", help="install the suite, run nothing")
    return parser.parse_args()


def install(work_dir):
    """Makes the environment and the ported suite, unless those of this very version are there. Returns its Python."""
    if not (3, 9) <= sys.version_info[:2] <= (3, 12):
        raise CannotRun(f"Python {sys.version.split()[0]} does not run the suite; call this script with 3.9 to 3.12")
    python = work_dir / "venv" / "bin" / "python"
    inputs = [HERE / "requirements.txt", HERE / "port.py"]
    content = b"".join(file.read_bytes() for file in inputs) + sys.version.encode()
    version = hashlib.sha256(content).hexdigest()
    stamp = work_dir / "installed"
    if stamp.is_file() and stamp.read_text() == version and python.exists():
        return python
    say(f"autobahn: installing the suite into {work_dir}")
    stamp.unlink(missing_ok=True)
    for ours in ("venv", "suite"):
        shutil.rmtree(work_dir / ours, ignore_errors=True)
    work_dir.mkdir(parents=True, exist_ok=True)
    try:
        venv.create(work_dir / "venv", with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        checked(pip + ["--requirement", HERE / "requirements.txt"], "pip could not install requirements.txt")
        checked([python, HERE / "port.py", work_dir / "suite"], "port.py could not translate the suite")
    except subprocess.CalledProcessError as error:
        raise CannotRun(f"no virtual environment ({error}); on Debian: apt install python3-venv") from error
    stamp.write_text(version)
    return python


def checked(command, trouble):
    done = subprocess.run(command, stdout=sys.stderr)
    if done.returncode != 0:
        raise CannotRun(f"{trouble} (exit status {done.returncode}, see above)")


class Server:
    """The server under test for the length of a `with`: started by a command, or found listening."""

    def __init__(self, command, port):
        self.command = shlex.split(command.replace("{port}", str(port))) if command else None
        self.port = port
        self.process = None

    def __enter__(self):
        if self.command:
            if self.listens():
                raise CannotRun(f"port {self.port} is in use; choose another with --port")
            try:
                self.process = subprocess.Popen(self.command, stdout=sys.stderr)
            except OSError as error:
                raise CannotRun(f"the server did not start: {error}") from error
        deadline = time.monotonic() + SERVER_START_S
        while not self.listens():
            ended = self.process is None or self.process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.__exit__()
                raise CannotRun(f"nothing listens on 127.0.0.1:{self.port}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def listens(self):
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def run_cases(python, work_dir, port, cases, deadline):
    """Runs cases and returns their results by id. What the suite says besides goes to a file."""
    command = [python, HERE / "fuzz.py", work_dir / "suite", f"ws://127.0.0.1:{port}", *cases]
    results = {}
    total = 0
    with open(work_dir / "suite.log", "w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        alarm = threading.Timer(max(deadline - time.monotonic(), 0), process.kill)
        alarm.start()
        try:
            for line in process.stdout:
                message = json.loads(line)
                if "cases" in message:
                    total = message["cases"]
                    continue
                results[message["id"]] = message
                show_progress(message["id"], len(results), total)
        finally:
            alarm.cancel()
            process.kill()
            process.wait()
    if len(results) < total or not total:
        say(f"autobahn: only {len(results)} of {total} cases ran; see {work_dir / 'suite.log'}")
    return results


def show_progress(case, done, total):
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\rautobahn: {done}/{total} {case:8}", end=end, file=sys.stderr, flush=True)
    elif done % SHOW_EVERY == 0 or done == total:
        say(f"autobahn: {done}/{total} {case}")


def is_good(result):
    return result["behavior"] in GOOD and result["behaviorClose"] in GOOD


def retry(python, arguments, results, deadline):
    """Runs those that failed once more, and says so; what then goes well counts. How many there were."""
    repeated = set()
    for _ in range(arguments.retries):
        failed = [case for case, result in results.items() if not is_good(result)]
        if not failed:
            break
        repeated.update(failed)
        say(f"autobahn: once more: {' '.join(failed)}")
        results.update(run_cases(python, arguments.work_dir, arguments.port, failed, deadline))
    return len(repeated)


def plain(text):
    """The suite describes in HTML, for reports."""
    return " ".join(text.replace("<br>", " ").split())[:300]


def judge(results, is_all, repeated):
    """Prints what went wrong, then the summary; whether all is as it should be."""
    for case, result in results.items():
        if not is_good(result):
            print(f"{case}: {result['behavior']}, close {result['behaviorClose']}")
            print(f"  test:     {plain(result['description'])}")
            print(f"  expected: {plain(result['expectation'])}")
            print(f"  message:  {plain(result['result'])}")
            print(f"  close:    {plain(result['resultClose'])}")
    counts = collections.Counter(dict.fromkeys(EXPECTED, 0))
    counts.update(result["behavior"] for result in results.values())
    bad_closes = sum(result["behaviorClose"] not in GOOD for result in results.values())
    words = ", ".join(f"{count} {behavior}" for behavior, count in counts.items())
    good = bool(results) and all(map(is_good, results.values())) and (not is_all or counts == EXPECTED)
    print(f"autobahn: {len(results)} cases: {words}; {bad_closes} bad closes, {repeated} run twice: {'passed' if good else 'FAILED'}")
    if is_all and not good:
        print("autobahn: expected " + ", ".join(f"{count} {behavior}" for behavior, count in EXPECTED.items()))
    return good


def main():
    arguments = parse_arguments()
    try:
        python = install(arguments.work_dir)
        if arguments.install_only:
            return 0
        deadline = time.monotonic() + arguments.timeout_s
        with Server(arguments.server_command, arguments.port):
            results = run_cases(python, arguments.work_dir, arguments.port, arguments.cases, deadline)
            repeated = retry(python, arguments, results, deadline)
    except CannotRun as error:
        say(f"autobahn: {error}")
        return 2
    return 0 if judge(results, arguments.cases == ALL_CASES, repeated) else 1


if __name__ == "__main__":
    sys.exit(main())
