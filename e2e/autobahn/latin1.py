"""Where the suite's byte strings meet Python 3.

The suite was written for Python 2, in which a string is bytes. Its port keeps strings and lets each character stand for
the byte of the same number, which is what Latin-1 means. So nothing in hundreds of cases has to change; strings become
bytes here, on the way to the WebSocket library, and become strings again on the way back.

The ported suite imports this module in place of `binascii`, and takes its UTF-8 validator from here.
"""

import binascii

from autobahn.websocket import utf8validator


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def to_text(data):
    return data.decode("latin-1") if isinstance(data, (bytes, bytearray)) else data


def b2a_hex(data):
    return binascii.b2a_hex(to_bytes(data)).decode("ascii")


class Utf8Validator(utf8validator.Utf8Validator):
    def validate(self, data):
        return super().validate(to_bytes(data))
