"""Each change in who answers is told once, however often it is asked for."""

from __future__ import annotations

from played import ALPHA, APEX

from mddns.base.model import Peer, Snapshot
from mddns.base.policy import Policy
from mddns.directory.directory import Directory
from mddns.directory.peer_memory import GONE_AFTER, Memory
from mddns.directory.peer_news import News

PEERS = tuple(Peer(f"host{number}", (f"100.64.1.{number}",)) for number in range(1, 13))


def directory() -> Directory:
    made = Directory(APEX.wire, Memory(), Policy())
    made.network(Snapshot(ALPHA, PEERS), with_own_host=False)
    return made


def told(news: News, made: Directory, now: float) -> list[tuple[str, str]]:
    return [tuple(item) for item in news.since(made, now)]  # type: ignore[misc]


def test_silence_the_end_of_patience_and_the_return_are_told_once_each() -> None:
    news, made, peer = News(), directory(), PEERS[0]
    assert told(news, made, 0.0) == []
    made.answered(peer, [], 0.0)
    assert told(news, made, 1.0) == []
    made.missed(peer, 2.0)
    assert told(news, made, 3.0) == [("peer-silent", "silent: host1")]
    made.missed(peer, 4.0)
    assert told(news, made, 5.0) == []
    assert told(news, made, GONE_AFTER) == [("peer-gone", "silent for 30 s, services dropped: host1")]
    assert told(news, made, GONE_AFTER + 100) == []
    made.answered(peer, [], GONE_AFTER + 200)
    assert told(news, made, GONE_AFTER + 200) == [("peer-back", "answers again: host1")]


def test_many_at_once_are_one_line() -> None:
    news, made = News(), directory()
    for peer in PEERS:
        made.answered(peer, [], 0.0)
        made.missed(peer, 1.0)
    named = ", ".join(peer.name for peer in PEERS[:8])
    assert told(news, made, 2.0) == [("peer-silent", f"silent: {named} and 4 more")]


def test_who_ends_its_registry_or_leaves_is_no_news() -> None:
    news, made = News(), directory()
    for peer in PEERS[:2]:
        made.answered(peer, [], 0.0)
    assert told(news, made, 0.0) == []
    made.refused(PEERS[0], 1.0)
    made.network(Snapshot(ALPHA, PEERS[2:]), with_own_host=False)
    assert told(news, made, 1.0) == []
