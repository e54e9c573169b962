"""Requests that two servers could read differently, as bytes, and what the gateway may make of each.

Wherever a body can be, it is, or holds, another request. No server may ever serve that one.
"""

from dataclasses import dataclass

SMUGGLED_PATH = "/smuggled"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH = b"Content-Length: %d" % len(SMUGGLED)
CHUNKED = b"Transfer-Encoding: chunked"
WHOLE = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
"""The same body in chunks."""
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: "


@dataclass(frozen=True)
class Odd:
    """One request.

    Attributes:
        name: What is odd about it.
        data: All that the client sends.
        statuses: Of the answers that are right.
        ends: Whether the connection must end with that answer, because nothing after it can be told apart.
    """

    name: str
    data: bytes
    statuses: frozenset[int]
    ends: bool


def _refused(name: str, data: bytes, *statuses: int) -> Odd:
    return Odd(name, data, frozenset(statuses or {400}), ends=True)


def _taken(name: str, data: bytes, *statuses: int) -> Odd:
    return Odd(name, data, frozenset(statuses or {200}), ends=False)


def _post(*fields: bytes, body: bytes = SMUGGLED, line: bytes = b"POST /predict HTTP/1.1") -> bytes:
    return b"\r\n".join([line, b"Host: x", b"Content-Type: image/jpeg", *fields, b"", b""]) + body


def _get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: x") -> bytes:
    return b"\r\n".join([line, *filter(None, [host]), *fields, b"", b""])


def _lengths() -> list[Odd]:
    """Content-Length, alone and beside others."""
    values = {
        "a negative": b"-1", "a signed": b"+5", "a hexadecimal": b"0x5", "a list of equal": b"5,5",
        "a list of two": b"5, 35", "an empty": b"", "a decimal": b"5.0", "an exponential": b"1e1",
        "a grouped": b"3_5", "a split": b"3 5", "an annotated": b"5;x", "an Arabic": b"\xd9\xa5",
        "a quoted": b'"5"', "a NUL in the": b"5\0", "a vertical tab in the": b"\x0b5",
        "a bare CR in the": b"3\r5",
    }  # fmt: skip
    refused = {f"{name} length": _post(b"Content-Length: " + value) for name, value in values.items()} | {
        "two different lengths": _post(b"Content-Length: 5", LENGTH),
        "two different lengths, the longer first": _post(LENGTH, b"Content-Length: 5"),
        "twice the same length": _post(LENGTH, LENGTH),
        "a length and an empty one": _post(LENGTH, b"Content-Length:"),
        "a length before chunks": _post(LENGTH, CHUNKED, body=WHOLE),
        "chunks before a length": _post(CHUNKED, LENGTH, body=WHOLE),
        "no length before chunks": _post(b"Content-Length: 0", CHUNKED, body=WHOLE),
        "an empty length before chunks": _post(b"Content-Length:", CHUNKED, body=WHOLE),
        "a space before the colon of a length": _post(b"Content-Length : 35"),
        "a tab before the colon of a length": _post(b"Content-Length\t: 35"),
        "a length behind a space": _post(b" Content-Length: 35"),
        "a length in a folded line": _post(b"X: y\r\n Content-Length: 35"),
        "a length folded by a tab": _post(b"X: y\r\n\tContent-Length: 35"),
        "a length on a folded line of its own": _post(b"Content-Length:\r\n 35"),
        "a length behind a bare LF": _post(b"X: y\nContent-Length: 35"),
        "a length behind a bare CR": _post(b"X: y\rContent-Length: 35"),
        "a length behind a NUL": _post(b"X: y\0\r\nContent-Length: 35"),
    }
    return [
        *(_refused(name, data) for name, data in refused.items()),
        _refused("a length of 2 ** 64 and some", _post(b"Content-Length: 18446744073509551621"), 400, 413),
        _refused("a length of 2 ** 63", _post(b"Content-Length: 9223352036854775808"), 400, 413),
        _refused("a length of 40 digits", _post(b"Content-Length: " + b"9" * 40), 400, 413),
        _taken("a length with leading zeros", _post(b"Content-Length: 00%d" % len(SMUGGLED)), 200, 400),
        _taken("a length among spaces", _post(b"Content-Length:  \t%d \t" % len(SMUGGLED))),
        _taken("an underscore in the name of a second length", _post(LENGTH, b"Content_Length: 5")),
        _taken("a length that is said to be of this hop", _post(LENGTH, b"Connection: Content-Length")),
    ]


def _codings() -> list[Odd]:
    """Transfer-Encoding, alone and beside others."""
    values = [
        b"gzip, chunked", b"gzip", b"chunked, gzip", b"identity", b"identity, chunked", b"chunked, chunked",
        b"chunked, identity", b"xchunked", b"chunkedx", b"chunked;q=1", b"chunked,", b",chunked", b"",
        b"\x0bchunked", b'"chunked"', b"chunk\xe9d", b"chunked\0", b"ch unked",
    ]  # fmt: skip
    coding = b"Transfer-Encoding: "
    twice, of_hop = _post(coding + b"identity", CHUNKED, body=WHOLE), b"Connection: Transfer-Encoding"
    return [
        *(_refused(f"the coding {value!r}", _post(coding + value, body=WHOLE), 501, 400) for value in values),
        _refused("a coding before chunked", _post(coding + b"gzip, chunked", body=WHOLE), 501),
        _refused("an unknown coding", _post(coding + b"odd", body=WHOLE), 501),
        _refused("twice chunked", _post(CHUNKED, CHUNKED, body=WHOLE), 501, 400),
        _refused("chunked behind another field for it", twice, 501, 400),
        _refused("chunked on a folded line", _post(coding + b"\r\n chunked", body=WHOLE)),
        _refused("a space before the colon of a coding", _post(b"Transfer-Encoding : chunked", body=WHOLE)),
        _refused("a tab before the colon of a coding", _post(b"Transfer-Encoding\t: chunked", body=WHOLE)),
        _refused("a coding behind a space", _post(LENGTH, b" " + CHUNKED, body=WHOLE)),
        _refused("a coding in a folded line", _post(LENGTH, b"X: y\r\n " + CHUNKED, body=WHOLE)),
        _refused("a coding behind a bare LF", _post(LENGTH, b"X: y\n" + CHUNKED, body=WHOLE)),
        _refused("a coding behind a bare CR", _post(LENGTH, b"X: y\r" + CHUNKED, body=WHOLE)),
        _refused("a coding behind a NUL", _post(LENGTH, b"X: y\0\r\n" + CHUNKED, body=WHOLE)),
        _refused("chunks in HTTP/1.0", _post(CHUNKED, body=WHOLE, line=b"POST /predict HTTP/1.0"), 400, 501),
        _taken("chunked in capitals", _post(coding + b"CHUNKED", body=WHOLE)),
        _taken("chunked among spaces", _post(coding + b" \tchunked\t ", body=WHOLE), 200, 400, 501),
        _taken("an underscore in the name of a coding", _post(LENGTH, b"Transfer_Encoding: chunked")),
        _taken("a coding that is said to be of this hop", _post(CHUNKED, of_hop, body=WHOLE)),
    ]


def _chunks() -> list[Odd]:
    """Bodies in chunks."""
    last = b"0\r\n\r\n"
    refused = {
        "a chunk of 0x5": b"0x5\r\nhello\r\n" + last,
        "a chunk of +5": b"+5\r\nhello\r\n" + last,
        "a chunk of -5": b"-5\r\nhello\r\n" + last,
        "a chunk behind a space": b" 5\r\nhello\r\n" + last,
        "a chunk of no size": b"\r\nhello\r\n" + last,
        "a chunk of 5g": b"5g\r\nhello\r\n" + last,
        "a chunk of 5_0": b"5_0\r\nhello\r\n" + last,
        "a size before a bare LF": b"5\nhello\r\n" + last,
        "a size before a bare CR": b"5\rhello\r\n" + last,
        "a chunk longer than its size": b"5\r\nhello!!\r\n" + last,
        "a chunk before a bare LF": b"5\r\nhello\n" + last,
        "a chunk before nothing": b"5\r\nhello" + last,
        "a bare LF in an extension": b"5;a\nb\r\nhello\r\n" + last,
        "a bare CR in an extension": b"5;a\rb\r\nhello\r\n" + last,
        "a bare LF as an extension": b"5;\nhello\r\n" + last,
        "a bare LF behind the last chunk": b"5\r\nhello\r\n0\n\n",
    }
    taken = {
        "an extension": b"5;a=b\r\nhello\r\n" + last,
        "a trailer": b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        "another request as a chunk": WHOLE,
        "an extension of the last chunk": b"5\r\nhello\r\n0;a=b\r\n\r\n",
    }
    either = {
        "a space behind a size": b"5 \r\nhello\r\n" + last,
        "a trailer that is a length": b"5\r\nhello\r\n0\r\n" + LENGTH + b"\r\n\r\n",
        "a trailer that is a coding": b"5\r\nhello\r\n0\r\n" + CHUNKED + b"\r\n\r\n",
        "leading zeros": b"00000000000000005\r\nhello\r\n" + last,
        "several zeros as the last size": b"5\r\nhello\r\n000\r\n\r\n",
    }
    huge, trailer = b"FFFFFFFFFFFFFFFF5\r\nhello\r\n", b"5\r\nhello\r\n0\r\nno trailer\r\n\r\n"
    return [
        *(_refused(name, _post(CHUNKED, body=body)) for name, body in refused.items()),
        *(_taken(name, _post(CHUNKED, body=body)) for name, body in taken.items()),
        *(_taken(name, _post(CHUNKED, body=body), 200, 400) for name, body in either.items()),
        _refused("a chunk of 2 ** 68", _post(CHUNKED, body=huge), 400, 413),
        _refused("a chunk of 2 ** 64", _post(CHUNKED, body=b"10000000000000000\r\n" + last), 400, 413),
        _refused("a trailer that is none", _post(CHUNKED, body=trailer)),
    ]


def _heads() -> list[Odd]:
    """Request lines, Host and other fields."""
    versions = [b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/9.9"]
    lines = [
        b"GET /", b"GET / http/1.1", b"GET / HTTP/1", b"GET / HTTP/1.10", b"GET / HTTP/01.1",
        b"GET / HTTP/11", b"GET / HTTP/1.1 ", b"GET / HTTP /1.1", b"GET / HTTQ/1.1", b"GET / HTTP/1,1",
        b"GET\t/\tHTTP/1.1", b" GET / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /\0 HTTP/1.1",
        b"GET /\r HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET HTTP/1.1", b"get / HTTP/1.1", b"G@T / HTTP/1.1",
        b"GET, / HTTP/1.1", b"\0GET / HTTP/1.1", b"\xef\xbb\xbfGET / HTTP/1.1", b"HTTP/1.1 200 OK",
    ]  # fmt: skip
    fields = {
        "no name": b": y", "a space in a name": b"A B: c", "a NUL in a name": b"A\0: b",
        "an @ in a name": b"A@: b", "a bracket in a name": b"A(: b", "a name that is not ASCII": b"\xe9: y",
        "no colon": b"nonsense", "a NUL in a value": b"A: b\0c", "a bare CR in a value": b"A: b\rc",
        "a folded value": b"A: b\r\n c", "a bare LF before a field": b"A: b\nC: d",
        "a CR too many": b"A: b\r", "a control code in a value": b"A: b\x01",
    }  # fmt: skip
    return [
        *(_refused(f"the version {v!r}", _get(line=b"GET / " + v), 505) for v in versions),
        _refused("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, 400),
        *(_refused(f"the line {line!r}", _get(line=line), 400, 505) for line in lines),
        *(_refused(name, _get(field)) for name, field in fields.items()),
        _refused("no Host", _get(host=b"")),
        _refused("two hosts", _get(b"Host: y")),
        _refused("twice the same Host", _get(b"Host: x")),
        _refused("two hosts behind other fields", _get(b"A: b", b"host: y")),
        _refused("bare LFs for all line ends", b"GET / HTTP/1.1\nHost: x\n\n"),
        _refused("a bare LF as the last line", b"GET / HTTP/1.1\r\nHost: x\r\n\n"),
        _refused("a bare CR as the last line", b"GET / HTTP/1.1\r\nHost: x\r\n\r" + SMUGGLED),
        _refused("a bare LF behind the request line", b"GET / HTTP/1.1\nHost: x\r\n\r\n"),
        _taken("empty lines before the request", b"\r\n\r\n" + _get()),
        _taken("two spaces behind the method", _get(line=b"GET  / HTTP/1.1"), 200, 400),
        _taken("a value that is not ASCII", _get(b"A: \xe9")),
        _taken("an unknown Expect", _get(b"Expect: wonders"), 200, 400, 417),
        _taken("an unknown method", _get(line=b"BREW / HTTP/1.1"), 400, 405, 501),
        Odd("HTTP/1.0 without Host", _get(line=b"GET / HTTP/1.0", host=b""), frozenset({200}), ends=True),
    ]


def _bodies() -> list[Odd]:
    """Bodies where a server might see none, and requests that are the last ones."""
    methods = {
        method: _post(LENGTH, line=method + b" / HTTP/1.1") for method in (b"GET", b"OPTIONS", b"DELETE")
    }
    tunnels = [b"CONNECT x:443 HTTP/1.1", b"CONNECT / HTTP/1.1"]
    protocols = [b"h2c", b"websocket", b"TLS/1.0", b"foo, bar"]
    websocket = b"\r\n".join(
        [
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
    )
    last = frozenset({200})
    return [
        *(_taken(f"a body of {m.decode()}", data, 200, 405) for m, data in methods.items()),
        _taken("chunks of GET", _post(CHUNKED, body=WHOLE, line=b"GET / HTTP/1.1")),
        *(_refused(f"a body of {line!r}", _post(LENGTH, line=line), 400, 404, 405, 501) for line in tunnels),
        *(_taken(f"a body behind {p!r}", _post(UPGRADE + p, LENGTH)) for p in protocols),
        *(_taken(f"chunks behind {p!r}", _post(UPGRADE + p, CHUNKED, body=WHOLE)) for p in protocols),
        _taken("an upgrade without a body", _get(UPGRADE + b"h2c")),
        _taken("a body that was asked for", _post(LENGTH, b"Expect: 100-continue")),
        _taken("a body behind an odd Expect", _post(LENGTH, b"Expect: y 100-continue"), 200, 400, 417),
        _taken("chunks that were asked for", _post(CHUNKED, b"Expect: 100-continue", body=WHOLE)),
        _taken("a WebSocket", _get(websocket)),
        _taken("HTTP/1.0 that keeps its connection", _get(b"Connection: keep-alive", line=b"GET / HTTP/1.0")),
        Odd("a request behind the last one", _get(b"Connection: close") + SMUGGLED, last, ends=True),
        Odd("a request behind HTTP/1.0", _get(line=b"GET / HTTP/1.0") + SMUGGLED, last, ends=True),
    ]  # fmt: skip


ODD_REQUESTS = [*_lengths(), *_codings(), *_chunks(), *_heads(), *_bodies()]
