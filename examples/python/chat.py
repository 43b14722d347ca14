#!/usr/bin/env python3
"""A chat client for Throng, from docs/protocol.md alone: Python's standard library, nothing else.

    examples/python/chat.py --url ws://127.0.0.1:8080/connect --token "$(throng token --user ana)" --room lobby

Lines of standard input are published; what the room says is printed as `lane/seq from: data`. It resumes after a lost
connection. With --count N it ends after N messages, which is how the tests use it.
"""

import argparse
import base64
import hashlib
import json
import os
import queue
import random
import select
import socket
import ssl
import struct
import sys
import threading
import time
from urllib.parse import urlsplit


class Closed(Exception):
    """The connection has ended, with the close code if there was one."""

    def __init__(self, code, reason=""):
        super().__init__(f"closed ({code} {reason})".strip())
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server said no, and would say it again."""


# What asking again does not change, with the same token and room.
FINAL = ("unauthorized", "forbidden", "blocked", "bad_id", "bad_request", "too_many_rooms", "not_found")


# Close codes after which a client does not come back by itself.
STAY_AWAY = (4001, 4002, 4005, 4008)


def asked_to_wait(error):
    """Seconds that a gateway which is too busy asks for."""
    if isinstance(error, Closed) and error.code == 1013:
        return json.loads(error.reason)["retry_ms"] / 1000
    return 0


class WebSocket:
    """Just enough of RFC 6455 for a client: text messages, fragments, ping, close."""

    def __init__(self, url, timeout=10):
        parts = urlsplit(url)
        port = parts.port or {"ws": 80, "wss": 443}[parts.scheme]
        self.socket = socket.create_connection((parts.hostname, port), timeout=timeout)
        if parts.scheme == "wss":
            self.socket = ssl.create_default_context().wrap_socket(self.socket, server_hostname=parts.hostname)
        self.buffer = b""
        self.lock = threading.Lock()
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            (
                f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.hostname}:{port}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: throng.v1.json\r\n\r\n"
            ).encode()
        )
        head = self._until(b"\r\n\r\n").decode("latin-1")
        status, *lines = head.split("\r\n")
        if " 101 " not in status + " ":
            raise OSError(f"the server refused the handshake: {status}")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        if headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
            raise OSError("the server's handshake does not match")
        self.socket.settimeout(90)

    def send(self, text):
        self._frame(1, text.encode())

    def readable(self, until):
        """Waits for something to read, at most until a moment of time.monotonic() if there is one."""
        # TLS may hold what it has decrypted, which select does not see.
        if self.buffer or until is None or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
            return True
        return bool(select.select([self.socket], [], [], max(0, until - time.monotonic()))[0])

    def receive(self):
        """The next text message; answers pings on the way."""
        message = b""
        while True:
            first, second = self._exactly(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._exactly(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._exactly(8))
            payload = self._exactly(length)
            opcode = first & 0x0F
            if opcode == 8:
                code = struct.unpack(">H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(code, payload[2:].decode("utf-8", "replace"))
            if opcode == 9:
                self._frame(10, payload)
            elif opcode in (0, 1):
                message += payload
                if first & 0x80:
                    return message.decode()

    def close(self, code=1000):
        try:
            self._frame(8, struct.pack(">H", code))
        except OSError:
            pass
        self.socket.close()

    def _frame(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        if length < 126:
            head = bytes([0x80 | opcode, 0x80 | length])
        elif length < 65536:
            head = bytes([0x80 | opcode, 0xFE]) + struct.pack(">H", length)
        else:
            head = bytes([0x80 | opcode, 0xFF]) + struct.pack(">Q", length)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        with self.lock:
            self.socket.sendall(head + mask + masked)

    def _exactly(self, count):
        while len(self.buffer) < count:
            self._more()
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _until(self, end):
        while end not in self.buffer:
            self._more()
        taken, self.buffer = self.buffer.split(end, 1)
        return taken

    def _more(self):
        more = self.socket.recv(65536)
        if not more:
            raise Closed(1006, "the connection was cut")
        self.buffer += more


class Chat:
    """One user in one room: hello, join, publish, cursors, resume."""

    def __init__(self, url, token, room, on_message):
        self.url, self.token, self.room, self.on_message = url, token, room, on_message
        self.resume = None
        self.cursor = None
        self.ids = 0
        self.asked = set()
        self.answers = {}
        self.waiting = {}
        self.unsent = queue.Queue()
        # Messages that were refused because we are not in the room.
        self.rejoin = []
        # Where publishes go; none while there is no connection.
        self.socket = None
        # When to change to another gateway, once this one has said that it stops, and how often that has failed.
        self.leave_at = None
        self.tries = 0
        # Messages that came on a new connection which then failed: the old one may bring them again.
        self.trial = None
        self.twice = set()
        # Whether this attempt has come as far as the room.
        self.entered = False
        self.lock = threading.Lock()

    def publish(self, data, lane=2, kind="text", ack="accepted"):
        """Queues a message. Its key makes it safe to send again after a lost connection."""
        key = base64.b64encode(os.urandom(9)).decode()
        self.unsent.put({"room": self.room, "type": kind, "lane": lane, "data": data, "key": key, "ack": ack})

    def run(self, done):
        """Connects, and connects again after a loss, until done() is true."""
        threading.Thread(target=self._send_loop, daemon=True).start()
        failures = 0
        while not done():
            pause = random.uniform(0, min(10, 0.25 * 2**failures))
            self.entered = False
            try:
                self._session(done)
                return
            except Closed as closed:
                if closed.code in STAY_AWAY:
                    raise
                failures, why = failures + 1, closed
                pause += asked_to_wait(closed)
            except OSError as error:
                failures, why = failures + 1, error
            if self.entered:
                failures = 1
            elif not done():
                print(f"! not connected: {why}; trying again", file=sys.stderr)
            if failures > 20:
                raise SystemExit(f"giving up after 20 attempts: {why}")
            time.sleep(pause)

    def _session(self, done):
        socket_ = self._connect()
        try:
            while not done():
                if self.rejoin:
                    self._join(socket_, {"since": self.cursor})
                    while self.rejoin:
                        self.unsent.put(self.rejoin.pop(0))
                if self.leave_at is not None and time.monotonic() >= self.leave_at:
                    socket_ = self._change(socket_)
                if socket_.readable(self.leave_at):
                    self._read(socket_)
        finally:
            with self.lock:
                self.socket = None
            socket_.close()

    def _change(self, old):
        """The new connection stands before the old one goes. While there is none, the old one is as good as before: it
        stays until its gateway closes it, and the change is tried again."""
        self.trial = set()
        try:
            new = self._connect()
        except (Closed, OSError) as error:
            if isinstance(error, Closed) and error.code in STAY_AWAY:
                raise
            self.twice |= self.trial
            pause = random.uniform(0, min(10, 0.25 * 2**self.tries)) + asked_to_wait(error)
            self.tries += 1
            self.leave_at = time.monotonic() + pause
            return old
        finally:
            self.trial = None
        self.tries = 0
        self.twice.clear()
        old.close()
        return new

    def _connect(self):
        socket_ = WebSocket(self.url)
        try:
            self._enter(socket_)
            self.entered = True
        except BaseException:
            socket_.close()
            raise
        with self.lock:
            self.socket, self.leave_at = socket_, None
            # What was not answered may have been taken or not: its key makes it the same message.
            for publish in self.waiting.values():
                self.unsent.put(publish)
            self.waiting.clear()
        return socket_

    def _enter(self, socket_):
        if self.resume and self.cursor:
            ok = self._ask(socket_, {"hello": {"resume": self.resume, "rooms": {self.room: self.cursor}}})
            self.resume = ok["resume"]
            entry = ok.get("rooms", {}).get(self.room, {})
            if "code" not in entry:
                return
        else:
            self.resume = self._ask(socket_, {"hello": {"token": self.token}})["resume"]
        self._join(socket_, {"history": 20})

    def _join(self, socket_, past):
        joined = self._ask(socket_, {"join": {"room": self.room, **past}})
        for message in joined.get("messages", []):
            self.on_message(message)
        self.cursor = {"epoch": joined["epoch"], "seq": joined["seq"]}

    def _ask(self, socket_, command):
        wanted = self._next_id()
        self.asked.add(wanted)
        socket_.send(json.dumps({"id": wanted, **command}))
        while wanted not in self.answers:
            self._read(socket_)
        answer = self.answers.pop(wanted)
        self.asked.discard(wanted)
        if "error" in answer:
            if answer["error"]["code"] in ("bad_resume", "token_expired"):
                self.resume = None
            code, said = answer["error"]["code"], f"{answer['error']['code']}: {answer['error']['message']}"
            if code in FINAL or (code == "token_expired" and "token" in command.get("hello", {})):
                raise Refused(said)
            raise Closed(1000, said)
        return answer["ok"]

    def _next_id(self):
        with self.lock:
            self.ids += 1
            return self.ids

    def _send_loop(self):
        while True:
            publish = self.unsent.get()
            number = self._next_id()
            with self.lock:
                # Kept until it is answered: whatever connection comes next sends it again.
                self.waiting[number] = publish
                if self.socket is None:
                    continue
                try:
                    self.socket.send(json.dumps({"id": number, "publish": publish}))
                except OSError:
                    pass

    def _read(self, socket_):
        for line in socket_.receive().split("\n"):
            if line:
                self._take(json.loads(line))

    def _take(self, frame):
        if "segment" in frame:
            self._segment(frame["segment"])
        elif "sealed" in frame:
            self._enter_epoch(frame["sealed"]["next_epoch"])
        elif "goaway" in frame:
            self.resume = frame["goaway"]["resume"]
            self.leave_at = time.monotonic() + random.uniform(0, frame["goaway"]["after_ms"] / 1000)
        elif frame.get("id") in self.asked:
            self.answers[frame["id"]] = frame
        elif frame.get("id") in self.waiting:
            publish = self.waiting.pop(frame["id"])
            if "error" in frame:
                self._refused(publish, frame["error"])
        elif "error" in frame:
            print(f"! {frame['error']['code']}: {frame['error']['message']}", file=sys.stderr)

    def _refused(self, publish, error):
        if error["code"] == "not_joined":
            # Taken out of the room meanwhile, as offline or by an administrator: enter again, then say it again.
            self.rejoin.append(publish)
        elif error["code"] in ("limited", "unavailable", "not_stored"):
            timer = threading.Timer(error.get("retry_ms", 500) / 1000, self.unsent.put, [publish])
            timer.daemon = True
            timer.start()
        else:
            print(f"! {error['code']}: {error['message']}", file=sys.stderr)

    def _enter_epoch(self, epoch):
        # Only ever forward: what is said of an epoch that has ended, or said again, moves no cursor.
        if self.cursor is None or epoch > self.cursor["epoch"]:
            self.cursor = {"epoch": epoch, "seq": [0, 0, 0, 0]}

    def _segment(self, segment):
        self._enter_epoch(segment["epoch"])
        seq = self.cursor["seq"]
        for message in segment["messages"]:
            # What comes late of an epoch that has ended moves no cursor.
            if segment["epoch"] == self.cursor["epoch"]:
                seq[message["lane"]] = max(seq[message["lane"]], message["seq"])
            stamp = (segment["epoch"], message["lane"], message["seq"])
            if stamp in self.twice:
                continue
            if self.trial is not None:
                self.trial.add(stamp)
            self.on_message(message)
        for gap in segment.get("gaps", []):
            if gap["epoch"] == self.cursor["epoch"]:
                seq[gap["lane"]] = max(seq[gap["lane"]], gap["to"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="ws://127.0.0.1:8080/connect")
    parser.add_argument("--token", required=True)
    parser.add_argument("--room", default="lobby")
    parser.add_argument("--say", action="append", default=[], help="publish this line; may be repeated")
    parser.add_argument("--count", type=int, default=0, help="end after so many messages (0: never)")
    args = parser.parse_args()
    seen = 0

    def show(message):
        nonlocal seen
        seen += 1
        print(f"{message['lane']}/{message['seq']} {message['from']}: {json.dumps(message['data'])}", flush=True)

    chat = Chat(args.url, args.token, args.room, show)
    for line in args.say:
        chat.publish({"text": line})

    def type_lines():
        for line in sys.stdin:
            chat.publish({"text": line.rstrip("\n")})

    threading.Thread(target=type_lines, daemon=True).start()
    chat.run(lambda: args.count and seen >= args.count)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except (Closed, Refused) as end:
        sys.exit(str(end))
