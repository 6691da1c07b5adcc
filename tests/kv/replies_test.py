#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""replies_test.py - what kv answers is, byte for byte, what Redis 7.0 answers.

What differs on purpose, and so is not asked here:
  - INFO, COMMAND, and CONFIG GET of most things: another server has other things to say;
  - HELLO's id, and CLIENT ID: numbers of connections;
  - what kv does not have: commands, options, subcommands, help, quotes in lines of words;
  - zero bytes in lines, of which Redis does not see the end;
  - keys longer than 64 KiB, which kv refuses;
  - the order in which UNSUBSCRIBE without arguments leaves channels: by a hash in Redis.
"""
import random
import re
import unittest

import kv
from kv import encode

REDIS = kv.need_redis()

SCRIPT = """
PING | PING hello | PING a b | ECHO hi | ECHO | ECHO a b | PiNg
GET none | SET k v | GET k | get k | GET | GET a b | SET k | SET
SET k v2 NX | SET k v3 XX | GET k | SET n v NX | SET x v XX | GET x | SET k v NX XX
SET k v XX NX | SET k v nx | SET k v NX NX | SET k v bogus
SET k v EX 100000 | TTL k | SET k w XX Ex 200000 | TTL k | SET k w | TTL k | TTL none
SET k v PX 100000000 | TTL k | SET k v PX 100000000 XX | TTL k | DEL k | SET k v px 1000000 NX
SET k v EX 0 | SET k v EX -1 | SET k v PX 0 | SET k v EX abc | SET k v EX | SET k v EX 1.5
SET k v EX 9223372036854775807 | SET k v PX 9223372036854775807 | SET k v EX 9223372036854775
SET k v EX 9223372036854775808 | SET k v EX 10000 PX 10000000 | TTL k
SET k v EX 10000000000 | TTL k | SET k v EX 1 EX 20000 | TTL k | SET k v PX 1 EX 1
SET k v EX 0 bogus | SET k v EX x bogus | SET k v PX x PX | SET k v EX x EX 9
SET k v EX NX | SET k v EX NX EX 30000 | TTL k
EXPIRE k 10000000000 | TTL k | EXPIRE k -10000000000 | EXISTS k | EXPIRE k -10000000000
DEL k | DEL k | SET a 1 | SET b 2 | DEL a b c a | DEL | EXISTS a | EXISTS
MSET a 1 b 2 c 3 | MGET a b c d | MGET d | MGET | MSET a | MSET a 1 b | MSET | EXISTS a b c d a
MSET a 1 a 2 | GET a | MGET a a a | MSET {t}a 1 {t}b 2 | MGET {t}a {t}b {}a {t
INCR i | INCR i | GET i | INCR | INCR a b | SET i 9223372036854775807 | INCR i | GET i
SET i -9223372036854775808 | INCR i | SET i 007 | INCR i | SET i +5 | INCR i | SET i abc | INCR i
SET i 0 | INCR i | SET i -0 | INCR i | SET i - | INCR i | SET i 1x | INCR i | SET i -7 | INCR i
SET i 9223372036854775808 | INCR i | SET i 99999999999999999999999 | INCR i
SET i 5 EX 1000000 | INCR i | TTL i
EXPIRE none 10000 | SET e v | EXPIRE e 100000 | TTL e | EXPIRE e 200000 | TTL e | EXPIRE e abc
EXPIRE e 9223372036854775807 | EXPIRE e -9223372036854775807 | EXPIRE e 9223372036854775
EXPIRE e -1 | EXISTS e | SET e v | EXPIRE e 0 | GET e | EXPIRE e | EXPIRE
EXPIRE none 9223372036854775807
foo | FOO bar baz | foo "a b" | get\\x00 x | CLIENT | client SETNAME me
CLIENT GETNAME | CLIENT SETNAME me | CLIENT GETNAME | CLIENT SETNAME "" | CLIENT GETNAME
CLIENT SETNAME "a b" | CLIENT SETNAME a\\nb | CLIENT SETNAME a\\x00 | CLIENT SETNAME \x7f
CLIENT SETNAME !~ | CLIENT GETNAME | CLIENT SETNAME " " | CLIENT GETNAME | CLIENT SETNAME \xe9
CLIENT SETNAME | CLIENT SETNAME a b | CLIENT GETNAME a | CLIENT ID a | CLIENT bogus | CLIENT ""
CONFIG | CONFIG GET save | CONFIG GET SAVE | CONFIG GET | CONFIG bogus | COMMAND bogus
HELLO x | HELLO 1 | HELLO 4 | HELLO 2 bogus | HELLO 3 bogus | HELLO 3 SETNAME | HELLO 3 AUTH a
HELLO 3 AUTH nobody pw | HELLO 3 AUTH Default pw | HELLO 3 SETNAME "a b" | HELLO x SETNAME a
HELLO 3 SETNAME a AUTH nobody pw | CLIENT GETNAME | HELLO 3 SETNAME b bogus | CLIENT GETNAME
HELLO 3 AUTH nobody pw SETNAME c | HELLO SETNAME c | HELLO 4 SETNAME c | CLIENT GETNAME
PUBLISH c m | PUBLISH c | UNSUBSCRIBE | UNSUBSCRIBE c d
"""

# What ends the connection; the answer is all that comes until then.
BROKEN = [
    b"*abc\r\n", b"*1\r\n$abc\r\n", b"*1\r\n$-1\r\n", b"*1\r\nx\r\n", b"*1\r\n*1\r\n", b"*+1\r\n",
    b"*1\r\n:1\r\n", b"*99999999999\r\n", b"* 1\r\n", b"*1\r\n$\r\n", b"*01\r\n", b"*\r\n",
    b"*2\r\n$3\r\nGET\r\n$16777217\r\n", b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$04\r\n",
    b'GET "abc\r\n', b"GET 'abc\r\n", b"PING\r\nGET 'a'b\r\nPING\r\n", b"ECHO it's\r\n",
    b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n", b"QUIT\r\n", b"*1\r\n$4\r\nquit\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\nv\r\n", b"SET k v\r\nQUIT\r\nGET k\r\n", b"QUIT now\r\n",
    b"*" + b"1" * 70000, b"*1\r\n$" + b"1" * 70000, b"x" * 70000,
]

# Lines, and requests that are odd but none of them an error.
ODD = [
    b"PING\r\n", b"PING\n", b"\r\n\r\nPING\r\n", b"  PING  \r\n", b"*0\r\nPING\r\n",
    b"*-1\r\nPING\r\n", b"*-10\r\nPING\r\n", b"SET k a\\x41\r\nGET k\r\n",
    b"\t ECHO \t x\r\n", b"ECHO a\x0b\x0cb\r\n", b"\x0bECHO \x0c a\r\n", b"PING\ra\r\n",
    b"ECHO \\\\\r\n", b"ECHO caf\xc3\xa9\r\n",
    b"*2\r\n$4\r\nECHO\r\n$5\r\na\r\nb\0\r\n", b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"*1\r\n$4\rxPING\r\n", b"*1\rx$4\r\nPING\r\n", b"*2\r\n$4\r\rECHO\r\n$1\r\r\n\r\n",
    b"*1\r\n$0\r\n\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$1\r\nxyzPING\r\n",
]


def requests(script):
    """The script's requests, as words of bytes; blanks within quotes do not part them."""
    for text in script.replace("\n", " | ").split("|"):
        words, quoted = [], text.split('"')
        for index, piece in enumerate(quoted):
            words += [piece] if index % 2 else piece.split()
        if words:
            yield [word.encode().replace(b"\\x00", b"\0").replace(b"\\n", b"\n")
                   for word in words]


def random_request(choose):
    """Any of those whose answer does not depend on the time."""
    def key():
        return choose.choice(("a", "b", "c", "{x}d", "{x}e", "f"))

    def value():
        return choose.choice(("", "1", "-7", "abc", "x" * 100, "y" * 3000, "z" * 20000))

    return choose.choice((
        lambda: ("GET", key()), lambda: ("SET", key(), value()), lambda: ("INCR", key()),
        lambda: ("SET", key(), value(), "NX"), lambda: ("SET", key(), value(), "XX"),
        lambda: ("SET", key(), value(), "EX", 500000), lambda: ("TTL", key()),
        lambda: ("DEL", key(), key()), lambda: ("EXISTS", key(), key(), key()),
        lambda: ("MGET", key(), key(), key()), lambda: ("MSET", key(), value(), key(), value()),
        lambda: ("EXPIRE", key(), 500000), lambda: ("ECHO", value()), lambda: ("bogus", key()),
        lambda: ("EXPIRE", key(), -1), lambda: ("PUBLISH", key(), value()),
    ))()


def random_session(choose):
    """All bytes of a connection; no answer depends on the time, but for HELLO's number."""
    def channel():
        return choose.choice(("a", "b", "{x}d"))

    data = encode("DEL", "a", "b", "c", "{x}d", "{x}e", "f")
    if choose.random() < 0.5:
        data += encode("HELLO", 3) + encode("SUBSCRIBE", channel())
    for _ in range(choose.randint(1, 30)):
        words = choose.choice((
            lambda: random_request(choose), lambda: random_request(choose),
            lambda: random_request(choose), lambda: random_request(choose),
            lambda: ("SUBSCRIBE", channel()), lambda: ("UNSUBSCRIBE", channel()),
            lambda: ("PUBLISH", channel(), "x"), lambda: ("PING",), lambda: ("PING", "x"),
            lambda: ("CLIENT", "GETNAME"), lambda: ("CLIENT", "SETNAME", choose.choice("ab \n")),
            lambda: ("HELLO", choose.choice("x234")), lambda: ("GET",), lambda: ("MSET", "a"),
        ))()
        if words[0] != "TTL":
            data += encode(*words)
        if choose.random() < 0.1:
            data += choose.choice(ODD[:-1])
    return data + choose.choice((b"QUIT\r\n", encode("QUIT"), *BROKEN[:10]))


class Replies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = kv.Redis(REDIS)

    @classmethod
    def tearDownClass(cls):
        cls.redis.__exit__()

    def both(self, *arguments):
        """A fresh kv, and the Redis, emptied."""
        with self.redis.connect() as client:
            self.assertEqual(client.ask("FLUSHALL"), b"+OK\r\n")
        return kv.Kv(*arguments)

    def assert_same(self, words, mine, model):
        """The seconds that a key has left may differ by as many as this may take."""
        if words[0] in (b"TTL", "TTL") and mine[:1] == model[:1] == b":" and int(model[1:]) > 0:
            self.assertAlmostEqual(int(mine[1:]), int(model[1:]), delta=2 * kv.LIMIT)
        else:
            self.assertEqual(mine, model, words[:2])

    def test_a_script_is_answered_in_the_same_words(self):
        for shards in (1, 3):
            for protocol in (2, 3):
                with self.both("--shards", shards) as server, server.connect() as mine, \
                        self.redis.connect() as model:
                    mine.ask("HELLO", protocol)
                    model.ask("HELLO", protocol)
                    for words in requests(SCRIPT):
                        with self.subTest(words, shards=shards, protocol=protocol):
                            self.assert_same(words, mine.ask(*words), model.ask(*words))

    def test_hello_says_the_same_but_for_the_number_of_the_connection(self):
        with self.both() as server, server.connect() as mine, self.redis.connect() as model:
            for words in (("HELLO",), ("HELLO", 3), ("HELLO",), ("HELLO", 2),
                          ("HELLO", 3, "SETNAME", "me"), ("HELLO", 2, "AUTH", "default", "pw"),
                          ("HELLO", 3, "auth", "default", "", "setname", "x", "setname", "you")):
                answers = [client.ask(*words).split(b"\r\n") for client in (mine, model)]
                self.assertEqual(mine.ask("CLIENT", "GETNAME"), model.ask("CLIENT", "GETNAME"))
                for answer in answers:
                    answer[answer.index(b"id") + 1] = b"?"
                    version = answer.index(b"version")
                    answer[version + 1:version + 3] = [b"7.0.?"]
                self.assertEqual(*answers)

    def test_what_breaks_the_protocol_ends_in_the_same_words(self):
        for shards in (1, 2):
            with self.both("--shards", shards) as server:
                for data in BROKEN:
                    with self.subTest(data[:40], shards=shards), server.connect() as mine, \
                            self.redis.connect() as model:
                        mine.send(data)
                        model.send(data)
                        self.assertEqual(mine.rest(), model.rest())

    def test_odd_requests_are_understood_the_same_way(self):
        with self.both() as server:
            for data in ODD:
                with self.subTest(data), server.connect() as mine, self.redis.connect() as model:
                    for client in (mine, model):
                        client.send(data + b"QUIT\r\n")
                    self.assertEqual(mine.rest(), model.rest())

    def test_subscribers_are_told_in_the_same_words(self):
        for shards, protocol in ((1, 2), (2, 2), (1, 3), (2, 3)):
            with self.both("--shards", shards) as server:
                told = []
                for side in (server, self.redis):
                    with side.connect() as reader, side.connect() as writer:
                        reader.ask("HELLO", protocol)
                        said = [reader.ask("SUBSCRIBE", "one"), reader.ask("SUBSCRIBE", "one")]
                        reader.send(encode("SUBSCRIBE", "two", "three"))
                        said += [reader.answer(), reader.answer()]
                        for words in (("PUBLISH", "one", "hi"), ("PUBLISH", "none", "hi"),
                                      ("PUBLISH", "two", b"\r\n\0" * 1000)):
                            said.append(writer.ask(*words))
                        said += [reader.answer(), reader.answer()]
                        for words in (("PING",), ("PING", "x"), ("GET", "k"), ("HELLO",),
                                      ("foo",), ("UNSUBSCRIBE", "two"), ("UNSUBSCRIBE", "two"),
                                      ("UNSUBSCRIBE", "one"), ("UNSUBSCRIBE", "three"),
                                      ("UNSUBSCRIBE",), ("GET", "k")):
                            if words != ("HELLO",) or protocol == 2:
                                said.append(reader.ask(*words))
                        told.append(said)
                self.assertEqual(*told)

    def test_a_client_hears_what_it_publishes_itself_before_the_count(self):
        for shards in (1, 3):
            with self.both("--shards", shards) as server:
                for channel in ("a", "b", "c", "d", "e"):
                    told = []
                    for side in (server, self.redis):
                        with side.connect() as client:
                            client.ask("HELLO", 3)
                            client.send(encode("SUBSCRIBE", channel) + encode("PING")
                                        + encode("PUBLISH", channel, "one")
                                        + encode("PUBLISH", channel, "two")
                                        + encode("UNSUBSCRIBE", channel)
                                        + encode("PUBLISH", channel, "three"))
                            told.append([client.answer() for _ in range(8)])
                    self.assertEqual(*told)

    def test_what_a_client_publishes_to_itself_comes_before_it_goes(self):
        for shards in (1, 3):
            with self.both("--shards", shards) as server:
                for end in (encode("QUIT"), b"*x\r\n"):
                    told = []
                    for side in (server, self.redis):
                        with side.connect() as client:
                            client.ask("HELLO", 3)
                            client.send(encode("SUBSCRIBE", "c") + encode("PUBLISH", "c", "m")
                                        + end)
                            told.append(client.rest())
                    self.assertIn(b"message", told[0])
                    self.assertEqual(*told)

    def test_whatever_is_asked_at_random_in_pipelines_is_answered_the_same(self):
        choose = random.Random(7)
        for shards, protocol in ((1, 2), (4, 3)):
            with self.both("--shards", shards) as server, server.connect() as mine, \
                    self.redis.connect() as model:
                mine.ask("HELLO", protocol)
                model.ask("HELLO", protocol)
                for _ in range(60):
                    pipeline = [random_request(choose) for _ in range(choose.randint(1, 30))]
                    data = b"".join(encode(*words) for words in pipeline)
                    mine.send(data)
                    model.send(data)
                    for words in pipeline:
                        self.assert_same(words, mine.answer(), model.answer())

    def test_sessions_at_random_in_pieces_are_the_same_to_their_end(self):
        choose = random.Random(11)
        for shards in (1, 2):
            with self.both("--shards", shards) as server:
                for _ in range(150):
                    data = random_session(choose)
                    cuts = [choose.randrange(len(data)) for _ in range(choose.choice((0, 3, 30)))]
                    cuts = [0, *sorted(cuts), len(data)]
                    told = []
                    for side in (server, self.redis):
                        with side.connect() as client:
                            for begin, end in zip(cuts, cuts[1:]):
                                client.send(data[begin:end])
                            told.append(re.sub(rb"(\r\nid\r\n):\d+", rb"\1", client.rest()))
                    self.assertEqual(*told, data)

    def test_values_have_the_same_limit(self):
        with self.both("--shards", 2) as server, server.connect() as mine, \
                self.redis.connect() as model:
            largest = b"v" * (16 << 20)
            for words in (("SET", "k", largest), ("GET", "k"), ("MSET", "k", "x", "l", largest),
                          ("MGET", "k", "l", "k"), ("ECHO", largest)):
                self.assertTrue(mine.ask(*words) == model.ask(*words), words[0])


if __name__ == "__main__":
    kv.main()
