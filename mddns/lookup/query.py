"""Answers the queries of a resolver: from its cache, or by a lookup. No I/O.

A resolver calls :meth:`Inquirer.begin`. If that returns a Lookup, the resolver runs it over the network. Then it calls
:meth:`Inquirer.finish`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import log
from types import MappingProxyType
from typing import Final, NamedTuple, Self

from ..base.model import Peer, Service, Snapshot, fold, replace
from ..base.names import Name
from ..base.policy import Policy
from ..base.validation import normal_name
from ..codec.answer import Answer, Told, introduce, lifetime
from ..codec.instance_records import TTL, instance_label, machine_label, spoken_protocol
from ..directory.directory import Directory
from ..directory.peer_memory import Memory, Standing, Way
from ..directory.silence_text import Silence, read_sentence
from ..directory.source import NEGATIVE_TTL
from ..dns.message import PTR, SRV, Message
from .asked_peer import Ask, Outcome
from .fanout import Lookup

_PENDING, _ANSWERED, _REFUSED, _SILENT = Outcome  # access to a member of an Enum is slow
_MOST_KEPT: Final = 1000  # most answers of the holder in the cache


class Query(NamedTuple):
    """What a caller looks for: all services if `name` is None. `first`: one match is enough."""

    name: str | None = None
    labels: Mapping[str, str] = MappingProxyType({})
    first: bool = False

    @classmethod
    def of(cls, name: str | None, labels: Mapping[str, str] | None = None, *, first: bool = False) -> Self:
        """Returns a query with a normalized name. InvalidService if no service can have that name."""
        return cls(None if name is None else normal_name(name), dict(labels or {}), first)

    @property
    def key(self) -> str | None:
        """Equal for queries that one complete lookup answers."""
        return None if self.name is None else fold(self.name)

    @property
    def flight(self) -> tuple[str | None, frozenset[tuple[str, str]] | None]:
        """Equal for queries that can share a lookup in progress; with `first`, only if their labels are equal."""
        return self.key, frozenset(self.labels.items()) if self.first else None


class Found(NamedTuple):
    """The result of a query. `answered` and `refused` count the peers of this lookup; `asked` counts all peers."""

    services: tuple[Service, ...]
    silent: tuple[str, ...]
    asked: int
    answered: int = 0
    refused: int = 0

    @property
    def nobody_answered(self) -> bool:
        """Whether registries are silent and no peer answered."""
        return bool(self.silent) and not self.answered

    def matching(self, labels: Mapping[str, str]) -> Self:
        """The same result with only the services that have all of these labels."""
        if not labels:
            return self
        return self._replace(services=tuple(each for each in self.services if each.matches(None, labels)))


class _Told(NamedTuple):
    """A cached answer of our own host's holder, and until when it is valid."""

    until: float
    found: Found


class Inquirer:
    """The state of one resolver. `timeout` is the seconds for one lookup."""

    def __init__(self, apex: Name, timeout: float, policy: Policy | None = None, memory: Memory | None = None) -> None:
        self.apex = apex
        self.timeout = timeout
        self.directory = Directory(apex.wire, memory or Memory(), policy or Policy())
        self._policy = policy or Policy()
        self._held: dict[str | None, _Told] = {}
        self._snapshot: Snapshot | None = None

    def slept(self, seconds: float, now: float) -> None:
        """The machine slept for `seconds`, until `now`; 0 changes nothing."""
        if seconds:
            self.directory.slept(seconds, now)
            self._held.clear()

    def begin(self, query: Query, snapshot: Snapshot, now: float, *, anew: bool = False) -> Lookup | None:
        """Returns the lookup that `query` needs, None if the cache answers it. `anew`: ignores the cache."""
        directory = self.directory
        if snapshot is not self._snapshot:
            self._snapshot = snapshot
            directory.network(snapshot, with_own_host=True)
            self._held.clear()
        if anew:
            self._held.clear()
        if self._is_held(query, now):
            return None
        peers = directory.memory.owed(directory.peers, now) if anew else directory.to_ask(query.key, now)
        if not peers or (query.first and self._is_known(query, {peer.id for peer, _ in peers}, now)):
            return None
        if query.name is None:
            qname, qtype = Name.of((b"_list",), self.apex).wire, PTR
        else:
            qname, qtype = Name.of((query.name.encode(),), self.apex).wire, SRV
        me = snapshot.me if snapshot.tun else None  # with userspace networking, our holder does not answer for others
        return Lookup(
            self.apex,
            qname,
            qtype,
            peers,
            now,
            timeout=self.timeout,
            holder=me if me and directory.memory.standing(me.id, now) is not Standing.IDLE else None,
            enough=self._enough(query) if query.first else None,
            way=lambda peer: directory.memory.way(peer.id, now),
            lists=directory.memory.lists(now),
        )

    def finish(self, query: Query, lookup: Lookup | None, now: float) -> Found:
        """Learns from `lookup`, if there was one, and returns the result of `query`."""
        found = self._held[query.key].found if self._is_held(query, now) else None
        answered = refused = 0
        if lookup is not None:
            holder = lookup.holder
            if holder and holder.outcome is _ANSWERED and holder.answer:
                found = self._hold(query, holder, holder.answer, lookup.begun)
            else:
                answered, refused = self._learn(query, lookup, now)
        if found is None:
            directory = self.directory
            services = directory.services(now, query.name)
            if lookup is not None and lookup.matched:
                # The lookup ended early. Old services of peers that had not answered are stale, so drop them.
                passed_over = {ask.peer.id for ask in lookup.outcomes(_PENDING)}
                services = [each for each in services if each.via not in passed_over]
            found = Found(tuple(services), directory.silent(now), directory.count(now), answered, refused)
        return found.matching(query.labels)

    def ask_held_back(self, snapshot: Snapshot, now: float) -> Lookup:
        """Returns a lookup of the services that hosts hold back. Leaves out hosts known to have no responder."""
        memory = self.directory.memory
        peers = [(peer, memory.standing(peer.id, now)) for peer in snapshot.everyone() if peer.asked]
        expected = [(peer, standing) for peer, standing in peers if standing is not Standing.IDLE]
        return Lookup(self.apex, Name.of((b"_held",), self.apex).wire, PTR, expected, now, timeout=self.timeout)

    def _is_held(self, query: Query, now: float) -> bool:
        told = self._held.get(query.key)
        return told is not None and now < told.until

    def _is_known(self, query: Query, due: Collection[str], now: float) -> bool:
        """Whether a known service matches that is not from a peer in `due`, whose services are stale."""
        services = self.directory.services(now, query.name)
        return any(each.via not in due and each.matches(None, query.labels) for each in services)

    def _enough(self, query: Query) -> Callable[[Peer, Answer], bool]:
        admit = self._policy.admit

        def enough(peer: Peer, answer: Answer) -> bool:
            services = (introduce(told, peer, "") for told in answer.told)
            return any(each.matches(query.name, query.labels) and admit(each, peer) for each in services)

        return enough

    def _learn(self, query: Query, lookup: Lookup, now: float) -> tuple[int, int]:
        """Puts the answers into the directory. Returns how many peers answered and how many refused."""
        directory = self.directory
        if lookup.holder and lookup.holder.outcome is _REFUSED:
            directory.refused(lookup.holder.peer, now)
        name, network = query.key, self._snapshot.network if self._snapshot else ""
        learn_all(directory, lookup.asks, network, lookup.begun, name)  # an answer is as old as its query
        directory.lapse(now, name)
        outcomes = [ask.outcome for ask in lookup.asks]
        return outcomes.count(_ANSWERED), outcomes.count(_REFUSED)

    def _hold(self, query: Query, holder: Ask, answer: Answer, asked: float) -> Found:
        """Caches and returns the holder's answer for the whole network. Its lifetime begins when it was `asked`.

        The address of each instance determines the peer that it belongs to.
        """
        snapshot, me = self._snapshot, holder.peer
        silence = next(filter(None, (read_sentence(text) for _, text in answer.errors)), Silence((), 0))
        services = []
        for told in answer.told:
            via = snapshot and _teller(told, snapshot)
            service = introduce(told, via or me, snapshot.network if snapshot else "")
            service = service if via else replace(service, via=None, host=None, owner=None, tags=())
            if not service.held and self._policy.admit(service, via or me):
                services.append(service)
        found = Found(tuple(services), silence.names, silence.asked or self.directory.count(asked), 1)
        if len(self._held) >= _MOST_KEPT:
            self._held.clear()
        # The holder answers from its cache, so the TTLs of its records tell how long they are still valid.
        most = TTL if services else NEGATIVE_TTL
        left = lifetime(Message(holder.message), most) if holder.message else 0
        if not self.directory.has_left(me):  # the network may have changed meanwhile
            self._held[query.key] = _Told(asked + left, found)
        return found


def learn_all(directory: Directory, asks: Iterable[Ask], network: str, now: float, name: str | None) -> None:
    """As :func:`learn`, for very many asks."""
    if name is None:
        for ask in asks:
            learn(directory, ask, network, now)
        return
    peers, told, rtts = [], [], []
    last = rtt_ms = None
    for ask in asks:
        answer, form, own = ask.said, ask.form, ask.own
        if ask.over_web or not (form or (answer and ask.outcome is _ANSWERED and not answer.partial)):
            learn(directory, ask, network, now, name)
            continue
        peer, rtt = ask.peer, ask.rtt
        services: Sequence[Service] = ()
        # Responses read together have the same round-trip time, and rounding is slow: round it once.
        if rtt != last:
            last, rtt_ms = rtt, None if rtt is None else round(rtt * 1000, 2)
        if form and own:
            services = (form.service(own, peer, network, rtt_ms),)
        elif answer and answer.told:
            services = tuple([introduce(each, peer, network, rtt_ms) for each in answer.told])
        peers.append(peer)
        told.append(services)
        rtts.append(rtt)
    directory.all_answered(peers, told, rtts, now, name)


def learn(directory: Directory, ask: Ask, network: str, now: float, name: str | None = None) -> None:
    """Puts the outcome of one ask, for all services or for `name` (in lower case), into the directory."""
    answer, peer, outcome = ask.answer, ask.peer, ask.outcome
    listed = ask.listed is _ANSWERED
    # A peer that is known to list by HTTP may be slow this time: that is no reason to skip HTTP.
    if ask.over_web and (ask.listed is _REFUSED or (outcome is _SILENT and not listed and ask.way is not Way.AT_ONCE)):
        directory.without_web(peer, now)
    if outcome is _REFUSED:
        directory.refused(peer, now)
    elif answer is not None and (outcome is _ANSWERED or answer.partial):
        services: Sequence[Service] = ()
        if answer.told:
            rtt_ms = None if ask.rtt is None else round(ask.rtt * 1000, 2)
            services = [introduce(told, peer, network, rtt_ms) for told in answer.told]
            if listed:
                services = [labelled(each, directory.machine_of(peer)) for each in services]
        # After a partial answer, even an empty one, the peer counts as silent, so the missing services are reported.
        by_dns = ask.message is not None
        directory.answered(peer, services, now, name=name, rtt=ask.rtt, partial=answer.partial, web=listed, dns=by_dns)
    elif outcome is _SILENT:
        directory.missed(peer, now)


def held_back(lookup: Lookup, network: str) -> list[Service]:
    """Returns the services that the hosts hold back; `Service.held` is the reason."""
    answers = ((ask.peer, ask.answer) for ask in lookup.asks if ask.answer)
    return [introduce(told, peer, network) for peer, answer in answers for told in answer.told if told.attributes.held]


def labelled(service: Service, machine: str) -> Service:
    """Returns `service` with an instance label, if it came without one (Minidisc has none)."""
    if service.instance:
        return service
    where = service.endpoint
    label = instance_label("" if service.remote else machine, where.address, where.port, service.protocol)
    return replace(service, instance=label)


def _teller(told: Told, snapshot: Snapshot) -> Peer | None:
    """Returns the node that has the address of this instance, None if no node has it.

    Of several nodes, it prefers the one whose machine name is in the instance label.
    """
    owners = [peer for peer in snapshot.everyone() if not set(peer.addresses).isdisjoint(told.addresses)]
    for peer in owners:
        machine, protocol = machine_label(peer.name), spoken_protocol(told.instance, told.port)
        if told.instance == instance_label(machine, told.addresses[0], told.port, protocol):
            return peer
    return owners[0] if owners else None


def by_preference(
    services: Sequence[Service], own: Sequence[str], draw: Callable[[], float], *, nearest: bool = False
) -> list[Service]:
    """Sorts by priority, then our own host's first, then at random by weight (RFC 2782), or by RTT if `nearest`.

    `own` are the addresses of our own host. `draw` returns random numbers between 0 and 1.
    """
    if not nearest and not own and len({(each.priority, each.weight) for each in services}) == 1:
        return sorted(services, key=lambda _: draw())  # all are equal: a random order

    def rank(service: Service) -> tuple[int, bool, float]:
        if nearest:
            within = float("inf") if service.rtt_ms is None else service.rtt_ms
        else:
            # Exponential clocks: the chance to be first is in proportion to the weight.
            within = -log(1.0 - draw()) / service.weight if service.weight else float("inf")
        return service.priority, service.endpoint.address not in own, within

    return sorted(services, key=rank)
