"""Runs cases of the ported Autobahn suite against a server and prints each result as one JSON object a line.

Usage: python fuzz.py PORTED_SUITE URL CASE..., where a case is an id or a pattern such as 6.4.*

The first line is {"cases": N}. A result has the keys id, behavior, behaviorClose, description, expectation, result,
resultClose and duration (milliseconds).
"""

import contextlib
import json
import sys

import txaio

txaio.use_twisted()

from latin1 import to_bytes, to_text

RESULT_KEYS = ("id", "behavior", "behaviorClose", "description", "expectation", "result", "resultClose", "duration")


def tell(value):
    print(json.dumps(value, default=to_text), file=sys.__stdout__, flush=True)


def bridge(fuzzing):
    """The suite's client, between a library that wants bytes and cases that speak in strings."""

    class Bridge(fuzzing.FuzzingClientProtocol):
        # A log of all bytes, for reports that we do not write. The suite switches it on and off; it stays off.
        createWirelog = property(lambda self: False, lambda self, wanted: None)

        def sendFrame(self, opcode, payload="", payload_len=None, **options):
            payload = to_bytes(payload)
            if payload_len is not None:
                # The library would repeat the payload to this length by a division that Python 3 makes a fraction.
                payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
            super().sendFrame(opcode, payload, **options)

        def sendMessage(self, payload, isBinary=False, *rest, binary=False, **options):
            super().sendMessage(to_bytes(payload), isBinary or binary, *rest, **options)

        def sendMessageFrameData(self, payload, *rest, **options):
            return super().sendMessageFrameData(to_bytes(payload), *rest, **options)

        def sendData(self, data, *rest, **options):
            super().sendData(to_bytes(data), *rest, **options)

        def sendPing(self, payload=None):
            super().sendPing(to_bytes(payload))

        def sendPong(self, payload=None):
            super().sendPong(to_bytes(payload))

        def sendCloseFrame(self, code=None, reasonUtf8=None, isReply=False):
            super().sendCloseFrame(code, to_bytes(reasonUtf8), isReply)

        def onMessage(self, payload, binary):
            super().onMessage(to_text(payload), binary)

        def onPong(self, payload):
            super().onPong(to_text(payload))

    return Bridge


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    suite, url, *cases = sys.argv[1:]
    sys.path.insert(0, suite)
    from autobahntestsuite import fuzzing
    from autobahntestsuite.case import Case
    from twisted.internet import reactor

    fuzzing.FuzzingClientProtocol = bridge(fuzzing)
    # The suite compares by pickling, which in Python 3 tells equal strings apart when one is shared and the other is not.
    Case.compare = lambda self, one, other: one == other

    class Factory(fuzzing.FuzzingClientFactory):
        def logCase(self, result):
            tell({key: result[key] for key in RESULT_KEYS})

        def createReports(self):
            pass

    # What the suite itself prints is no JSON.
    with contextlib.redirect_stdout(sys.stderr):
        server = {"agent": "server", "url": url}
        factory = Factory({"servers": [server], "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}})
        tell({"cases": len(factory.specCases)})
        reactor.run()


if __name__ == "__main__":
    main()
