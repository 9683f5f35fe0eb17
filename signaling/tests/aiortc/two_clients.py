"""Two clients of UnityP2P, with nothing of ours: two_clients.py ws://HOST:PORT/unityp2p

They find each other over the signaling protocol (docs/unityp2p.md), open WebRTC with a reliable and an unreliable data channel as the
original's clients do, send both ways on both, hang up at the signaling server, and go on talking. Prints one line for each step, and
fails where one does not come.
"""

import asyncio
import json
import random
import struct
import sys

import aioice.ice
import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

# Both are on this machine, and no other one is asked.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]

UNRELIABLE, RELIABLE, LISTENING, LISTENING_FAILED, CLOSED, CONNECTED, CONNECTING_FAILED, DISCONNECTED = range(1, 9)
VERSION, HEARTBEAT = 201, 202
NO_CONNECTION = -1
PATIENCE = 15


class Signaling:
    """One socket to the signaling server."""

    async def open(self, url, version):
        self.socket = await websockets.connect(url)
        if version == 2:
            await self.socket.send(bytes([VERSION, 2]))
            await self.expect_raw(bytes([VERSION, 2]))
        return self

    async def expect_raw(self, expected):
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        assert frame == expected, f"{frame!r} in place of {expected!r}"

    async def send(self, kind, connection, data=None):
        if isinstance(data, str):
            units = data.encode("utf-16-le")
            tail, data_kind = struct.pack("<I", len(units) // 2) + units, 2
        elif data is not None:
            tail, data_kind = struct.pack("<I", len(data)) + data, 1
        else:
            tail, data_kind = b"", 0
        await self.socket.send(struct.pack("<BBh", kind, data_kind, connection) + tail)

    async def next(self):
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        kind, data_kind, connection = struct.unpack("<BBh", frame[:4])
        if data_kind == 0:
            return kind, connection, None
        (length,) = struct.unpack("<I", frame[4:8])
        data = frame[8:]
        assert len(data) == length * data_kind, "the data is as long as its length says"
        return kind, connection, data.decode("utf-16-le") if data_kind == 2 else data

    async def expect(self, kind):
        event = await self.next()
        assert event[0] == kind, f"{event} in place of kind {kind}"
        return event[1:]

    async def listen(self, address):
        await self.send(LISTENING, NO_CONNECTION, address)
        assert await self.expect(LISTENING) == (NO_CONNECTION, address)

    async def heartbeat(self):
        await self.socket.send(bytes([HEARTBEAT]))
        await self.expect_raw(bytes([HEARTBEAT]))


class Peer:
    """One end of a WebRTC connection that is negotiated over a connection of the signaling server."""

    def __init__(self, signaling, connection):
        self.signaling, self.connection = signaling, connection
        self.webrtc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channels, self.inbox = {}, asyncio.Queue()
        self.complete = asyncio.Event()
        self.webrtc.on("datachannel", self.add)

    def add(self, channel):
        channel.on("message", lambda message: self.inbox.put_nowait((channel.label, message)))
        channel.on("open", lambda: self.note(channel))
        if channel.readyState == "open":
            self.note(channel)

    def note(self, channel):
        self.channels[channel.label] = channel
        if len(self.channels) == 2:
            self.complete.set()

    async def tell(self, what):
        await self.signaling.send(RELIABLE, self.connection, json.dumps(what).encode("utf-16-le"))

    async def hear(self):
        connection, data = await self.signaling.expect(RELIABLE)
        assert connection == self.connection
        return json.loads(data.decode("utf-16-le"))

    async def open(self):
        """Who draws the larger number offers, as among the original's clients that share an address."""
        own = random.getrandbits(31)
        await self.tell(own)
        if own > await self.hear():
            self.add(self.webrtc.createDataChannel("reliable"))
            self.add(self.webrtc.createDataChannel("unreliable", ordered=False, maxRetransmits=0))
            await self.webrtc.setLocalDescription(await self.webrtc.createOffer())
            await self.describe()
            await self.webrtc.setRemoteDescription(RTCSessionDescription(**await self.hear()))
        else:
            await self.webrtc.setRemoteDescription(RTCSessionDescription(**await self.hear()))
            await self.webrtc.setLocalDescription(await self.webrtc.createAnswer())
            await self.describe()
        await asyncio.wait_for(self.complete.wait(), PATIENCE)
        reliable, unreliable = self.channels["reliable"], self.channels["unreliable"]
        assert reliable.ordered and reliable.maxRetransmits is None
        assert not unreliable.ordered and unreliable.maxRetransmits == 0

    async def describe(self):
        local = self.webrtc.localDescription
        await self.tell({"sdp": local.sdp, "type": local.type})

    async def close(self):
        await self.webrtc.close()


async def exchange(a, b, word):
    """Both ways on both channels; on the reliable one everything, in order."""
    for sender, receiver, name in [(a, b, "there"), (b, a, "back")]:
        count = 50
        for number in range(count):
            sender.channels["reliable"].send(f"{word} {name} {number}")
        sender.channels["unreliable"].send(bytes([1, 2, 3]))
        received = [await asyncio.wait_for(receiver.inbox.get(), PATIENCE) for _ in range(count + 1)]
        texts = [message for label, message in received if label == "reliable"]
        assert texts == [f"{word} {name} {number}" for number in range(count)], texts
        assert ("unreliable", bytes([1, 2, 3])) in received, "on this machine nothing is lost"
        print(f"{word} {name}: {count} reliable in order, one unreliable", flush=True)


async def call(url, address, versions):
    """One listens and one connects."""
    host = await Signaling().open(url, versions[0])
    await host.listen(address)
    guest = await Signaling().open(url, versions[1])
    await guest.send(CONNECTED, 1, address)
    (at_host, _), (at_guest, _) = await host.expect(CONNECTED), await guest.expect(CONNECTED)
    assert (at_host, at_guest) == (16384, 1)
    a, b = Peer(host, at_host), Peer(guest, at_guest)
    await asyncio.gather(a.open(), b.open())
    await exchange(a, b, "call")
    await guest.send(DISCONNECTED, 1)
    assert await guest.expect(DISCONNECTED) == (1, None)
    assert await host.expect(DISCONNECTED) == (16384, None)
    await guest.socket.close()
    if versions[0] == 2:
        await host.heartbeat()
    await exchange(a, b, "without the server")
    # Another guest of the same host has the next id.
    late = await Signaling().open(url, versions[1])
    await late.send(CONNECTED, 1, address)
    assert await host.expect(CONNECTED) == (16385, None)
    await late.socket.close()
    assert await host.expect(DISCONNECTED) == (16385, None)
    await host.socket.close()
    await asyncio.gather(a.close(), b.close())


async def conference(url, address):
    """All listen on one address."""
    first = await Signaling().open(url, 2)
    await first.listen(address)
    second = await Signaling().open(url, 2)
    await second.listen(address)
    (at_first, _), (at_second, _) = await first.expect(CONNECTED), await second.expect(CONNECTED)
    a, b = Peer(first, at_first), Peer(second, at_second)
    await asyncio.gather(a.open(), b.open())
    await exchange(a, b, "conference")
    await asyncio.gather(a.close(), b.close())
    await first.socket.close()
    await second.socket.close()


async def main(url):
    await asyncio.gather(
        call(f"{url}/callapp", "a call", (2, 2)),
        call(url, "an old one \U0001f600", (1, 1)),
        conference(f"{url}/conferenceapp", "a conference"),
    )
    print("done", flush=True)


asyncio.run(main(sys.argv[1]))
