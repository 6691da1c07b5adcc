#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""server_test.py - kv by itself: shards, pieces of requests, slow clients, channels, limits."""
import os
import random
import signal
import socket
import struct
import unittest

import kv
from kv import encode


def keys_of_shards(shards):
    """A key for each shard, by the slots of a Redis Cluster."""
    def slot(key):
        crc = 0
        for byte in key:
            crc ^= byte << 8
            for _ in range(8):
                crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xffff
        return crc % 16384

    found = {}
    number = 0
    while len(found) < shards:
        key = b"key:%d" % number
        found.setdefault(slot(key) * shards // 16384, key)
        number += 1
    return [found[shard] for shard in range(shards)]


class Requests(unittest.TestCase):
    def test_requests_may_be_split_at_every_byte(self):
        script = (encode("SET", "a", "1") + b"GET a\r\n" + encode("MSET", "b", "x" * 20, "c", "")
                  + b"*0\r\n" + encode("MGET", "a", "b", "c", "d") + b"\r\nSET a it-is\n"
                  + encode("GET", "a") + encode("bogus", "x") + encode("DEL", "a", "b", "c")
                  + encode("QUIT"))
        for shards in (1, 2):
            with kv.Kv("--shards", shards) as server:
                with server.connect() as client:
                    client.send(script)
                    whole = client.rest()
                self.assertTrue(whole.endswith(b":3\r\n+OK\r\n"))
                for at in range(1, len(script)):
                    with server.connect() as client:
                        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        client.send(script[:at])
                        client.send(script[at:])
                        self.assertEqual(client.rest(), whole, at)
                with server.connect() as client:
                    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for at in range(len(script)):
                        client.send(script[at:at + 1])
                    self.assertEqual(client.rest(), whole)

    def test_a_long_pipeline_over_all_shards_is_answered_in_order(self):
        with kv.Kv("--shards", 4) as server, server.connect() as client:
            client.send(b"".join(encode("SET", f"k{i}", f"v{i}") for i in range(3000)))
            for _ in range(3000):
                self.assertEqual(client.answer(), b"+OK\r\n")
            client.send(encode("MGET", *(f"k{i}" for i in range(3000))) + encode("EXISTS", "k0"))
            elements = b"".join(b"$%d\r\nv%d\r\n" % (len(f"v{i}"), i) for i in range(3000))
            self.assertEqual(client.answer(), b"*3000\r\n" + elements)
            self.assertEqual(client.answer(), b":1\r\n")
            self.assertEqual(client.ask("DEL", *(f"k{i}" for i in range(3000))), b":3000\r\n")

    def test_each_request_of_a_pipeline_sees_those_before(self):
        with kv.Kv("--shards", 3) as server, server.connect() as client:
            for _ in range(20):
                pipeline = b""
                for key in keys_of_shards(3):
                    pipeline += encode("SET", key, "0") + encode("INCR", key)
                    pipeline += encode("EXPIRE", key, 0) + encode("GET", key)
                client.send(pipeline + encode("PING"))
                for _ in range(3):
                    for answer in (b"+OK\r\n", b":1\r\n", b":1\r\n", b"$-1\r\n"):
                        self.assertEqual(client.answer(), answer)
                self.assertEqual(client.answer(), b"+PONG\r\n")

    def test_keys_keep_their_values_whichever_others_go(self):
        choose = random.Random(1)
        known = {}
        with kv.Kv("--shards", 2) as server, server.connect() as client:
            for _ in range(10):
                chosen = [f"k{choose.randrange(1000)}" for _ in range(600)]
                gone = set(chosen[:300])
                client.send(encode("DEL", *gone))
                self.assertEqual(client.answer(), b":%d\r\n" % len(gone & known.keys()))
                for key in gone:
                    known.pop(key, None)
                known.update((key, key * 3) for key in chosen[300:])
                client.send(encode("MSET", *(word for key in chosen[300:]
                                             for word in (key, known[key]))))
                self.assertEqual(client.answer(), b"+OK\r\n")
                client.send(encode("MGET", *(f"k{i}" for i in range(1000))))
                values = (known.get(f"k{i}") for i in range(1000))
                expected = b"".join(b"$%d\r\n%s\r\n" % (len(v), v.encode()) if v else b"$-1\r\n"
                                    for v in values)
                self.assertEqual(client.answer(), b"*1000\r\n" + expected)

    def test_keys_with_the_same_tag_share_a_shard(self):
        with kv.Kv("--shards", 2) as server, server.connect() as client:
            for key in keys_of_shards(2):
                words = [b"{%s}%d" % (key, i) for i in range(10)]
                client.send(encode("MSET", *(word for pair in zip(words, words) for word in pair)))
                self.assertEqual(client.answer(), b"+OK\r\n")
                self.assertEqual(client.ask("EXISTS", *words), b":10\r\n")

    def test_large_values_come_back_whole_from_every_shard(self):
        size = 1 << 20 if kv.SLOW else 5 << 20
        with kv.Kv("--shards", 2) as server, server.connect() as client:
            keys = keys_of_shards(2)
            values = [bytes([65 + i]) * size for i in range(2)]
            self.assertEqual(client.ask("MSET", keys[0], values[0], keys[1], values[1]),
                             b"+OK\r\n")
            for _ in range(3):
                client.send(encode("MGET", *keys, "none") + encode("GET", keys[0]))
                expected = b"$%d\r\n" % size
                self.assertTrue(client.answer() == b"*3\r\n" + expected + values[0] + b"\r\n"
                                + expected + values[1] + b"\r\n$-1\r\n")
                self.assertTrue(client.answer() == expected + values[0] + b"\r\n")

    def test_a_value_may_be_replaced_while_it_is_being_sent(self):
        size = 2 << 20
        with kv.Kv("--shards", 2) as server, server.connect() as writer:
            for key in keys_of_shards(2):
                writer.ask("SET", key, b"a" * size)
                readers = [server.connect() for _ in range(3)]
                for reader in readers:
                    reader.send(encode("GET", key) * 4)
                for round_ in range(8):
                    writer.ask("SET", key, b"b" * size if round_ % 2 else b"c" * (size // 2))
                    writer.ask("DEL", key)
                for reader in readers:
                    with reader:
                        for _ in range(4):
                            answer = reader.answer()
                            if answer != b"$-1\r\n":
                                _, _, value = answer.partition(b"\r\n")
                                self.assertEqual(len(set(value[:-2])), 1)

    def test_keys_that_nobody_asks_for_go_when_they_have_expired(self):
        with kv.Kv("--shards", 2) as server, server.connect() as client:
            for i in range(500):
                client.send(encode("SET", f"k{i}", "v", "PX", 1))
            client.send(encode("SET", "stays", "v", "EX", 10000))
            for _ in range(501):
                self.assertEqual(client.answer(), b"+OK\r\n")
            kv.wait_until(lambda: b"db0:keys=1,expires=1," in client.ask("INFO"),
                          "500 keys to go")


class Limits(unittest.TestCase):
    def test_what_is_too_large_is_refused(self):
        refused = b"-ERR key of '%s' exceeds maximum allowed size (65536 bytes)\r\n"
        largest = "k" * 65536
        with kv.Kv("--shards", 2) as server:
            with server.connect() as client:
                self.assertEqual(client.ask("SET", largest, "v"), b"+OK\r\n")
                self.assertEqual(client.ask("SET", largest + "k", "v"), refused % b"set")
                self.assertEqual(client.ask("DEL", "a", largest + "k", largest),
                                 refused % b"del")
                self.assertEqual(client.ask("DEL", "a", largest), b":1\r\n")
            for data, error in ((b"*2\r\n$16777217\r\n", b"invalid bulk length"),
                                (b"*1048577\r\n", b"invalid multibulk length")):
                with server.connect() as client:
                    client.send(encode("PING") + data)
                    self.assertEqual(client.rest(),
                                     b"+PONG\r\n-ERR Protocol error: " + error + b"\r\n")

    def test_a_request_of_many_large_arguments_is_refused(self):
        with kv.Kv() as server, server.connect() as client:
            client.send(b"*5\r\n" + b"$16777216\r\n%s\r\n" % (b"x" * (16 << 20)) * 3)
            client.send(b"$16777216\r\n")
            self.assertEqual(client.rest(), b"-ERR Protocol error: request too large\r\n")

    def test_options_that_make_no_sense_are_refused(self):
        for arguments in (("--shards", "0"), ("--shards", "x"), ("--shards", "1025"),
                          ("--listen", "nowhere"), ("--listen",), ("--bogus",), ("operand",)):
            result = kv.subprocess.run([kv.KV, *arguments], capture_output=True, text=True,
                                       timeout=kv.LIMIT, check=False)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertIn("usage: kv", result.stderr)


class Clients(unittest.TestCase):
    def test_clients_that_go_in_the_middle_harm_nobody(self):
        with kv.Kv("--shards", 2) as server, server.connect() as bystander:
            keys = keys_of_shards(2)
            for i in range(40):
                client = server.connect()
                client.send((encode("SET", keys[0], "x" * 50000) + encode("GET", keys[0])
                             + encode("GET", keys[1])) * 5 + encode("SUBSCRIBE", "c")[:i])
                if i % 2:
                    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                             struct.pack("ii", 1, 0))
                client.socket.close()
                self.assertEqual(bystander.ask("PING"), b"+PONG\r\n")
            kv.wait_until(lambda: b"connected_clients:1\r\n" in bystander.ask("INFO"),
                          "all others to be gone")

    def test_a_client_that_does_not_read_makes_nobody_wait(self):
        with kv.Kv("--shards", 2) as server, server.connect() as other:
            keys = keys_of_shards(2)
            other.ask("MSET", keys[0], b"x" * 1000000, keys[1], b"y" * 1000000)
            with server.connect() as deaf:
                deaf.send((encode("GET", keys[0]) + encode("GET", keys[1])) * 50)
                for i in range(50):
                    self.assertEqual(other.ask("INCR", "n"), b":%d\r\n" % (i + 1))
                for i in range(100):
                    self.assertEqual(len(deaf.answer()), 1000012)

    def test_clients_of_all_shards_have_numbers_of_their_own(self):
        with kv.Kv("--shards", 2) as server:
            clients = [server.connect() for _ in range(10)]
            self.assertEqual(len({client.ask("CLIENT", "ID") for client in clients}), 10)

    def test_both_signals_end_it_with_everything_under_way(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with kv.Kv("--shards", 3) as server:
                clients = [server.connect() for _ in range(12)]
                keys = keys_of_shards(3)
                clients[0].ask("MSET", keys[0], b"x" * 1000000, keys[1], "y", keys[2], "z")
                for index, client in enumerate(clients):
                    client.ask("PING")
                    if index % 3 == 0:
                        client.send(encode("MGET", *keys) * 100)
                    elif index % 3 == 1:
                        client.ask("SUBSCRIBE", "c")
                    else:
                        client.send(encode("MSET", *keys, "x")[:-9])
                self.assertEqual(server.stop(number), (0, "", ""))


class Channels(unittest.TestCase):
    def test_messages_reach_subscribers_on_all_shards_in_order(self):
        with kv.Kv("--shards", 3) as server, server.connect() as writer:
            readers = [server.connect() for _ in range(9)]
            for reader in readers:
                self.assertEqual(reader.ask("SUBSCRIBE", "news"),
                                 b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
            writer.send(b"".join(encode("PUBLISH", "news", i) for i in range(200)))
            for _ in range(200):
                self.assertEqual(writer.answer(), b":9\r\n")
            for reader in readers:
                for i in range(200):
                    text = str(i).encode()
                    self.assertEqual(reader.answer(), b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$%d"
                                     b"\r\n%s\r\n" % (len(text), text))
            for count, reader in enumerate(readers):
                self.assertEqual(writer.ask("PUBLISH", "other", "x"), b":0\r\n")
                reader.send(encode("UNSUBSCRIBE"))
                for _ in range(count):
                    self.assertIn(b"message", reader.answer())
                self.assertEqual(reader.answer(), b"*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews"
                                 b"\r\n:0\r\n")
                self.assertEqual(writer.ask("PUBLISH", "news", "x"), b":%d\r\n" % (8 - count))

    def test_messages_come_between_answers_and_never_within(self):
        with kv.Kv("--shards", 2) as server, server.connect() as both, server.connect() as writer:
            keys = keys_of_shards(2)
            both.ask("HELLO", 3)
            both.ask("MSET", keys[0], b"x" * 100000, keys[1], b"y" * 100000)
            both.ask("SUBSCRIBE", "c")
            both.send(encode("MGET", *keys) * 20)
            writer.send(encode("PUBLISH", "c", "m" * 1000) * 200)
            for _ in range(200):
                self.assertEqual(writer.answer(), b":1\r\n")
            kinds = [both.answer()[:1] for _ in range(220)]
            self.assertEqual((kinds.count(b">"), kinds.count(b"*")), (200, 20))
            self.assertEqual(both.ask("PING"), b"+PONG\r\n")

    def test_messages_that_were_counted_come_before_a_goodbye(self):
        """They are published while the subscriber's answers wait to be read."""
        for last, end in (("QUIT", b"+OK\r\n"), ("UNSUBSCRIBE", b":0\r\n")):
            with kv.Kv("--shards", 2) as server, server.connect() as reader, \
                    server.connect() as writer:
                writer.ask("SET", "k", b"x" * 1000000)
                reader.ask("HELLO", 3)
                reader.ask("SUBSCRIBE", "c")
                reader.send(encode("GET", "k") * 40 + encode(last))
                answers = [reader.answer()]
                self.assertEqual(writer.ask("PUBLISH", "c", "m"), b":1\r\n")
                while not answers[-1].endswith(end):
                    answers.append(reader.answer())
                self.assertEqual([answer[:1] for answer in answers].count(b">"),
                                 1 + (last != "QUIT"))
                self.assertIn(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", answers[:-1])
                if last == "QUIT":
                    self.assertEqual(reader.rest(), b"")

    def test_a_subscriber_that_does_not_read_is_sent_away(self):
        for message in (b"m" * (1 << 20), b"m" * 1000):
            with kv.Kv("--shards", 2) as server, server.connect() as writer:
                writer.ask("PING")
                descriptors = f"/proc/{server.process.pid}/fd"
                count = len(os.listdir(descriptors))
                deaf = server.connect()
                deaf.ask("SUBSCRIBE", "c")
                while writer.ask("PUBLISH", "c", message) != b":0\r\n":
                    pass
                kv.wait_until(lambda d=descriptors, c=count: len(os.listdir(d)) == c,
                              "its connection to be closed")

    def test_subscribers_that_go_leave_nothing_behind(self):
        with kv.Kv("--shards", 2) as server, server.connect() as writer:
            for i in range(20):
                reader = server.connect()
                reader.send(encode("SUBSCRIBE", *(f"c{k}" for k in range(i + 1))))
                reader.answer()
                reader.socket.close()
            for k in range(20):
                kv.wait_until(lambda k=k: writer.ask("PUBLISH", f"c{k}", "x") == b":0\r\n",
                              "subscribers to be gone")


if __name__ == "__main__":
    kv.main()
