"""The service without sockets: commands in, events out, on a world without a model."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.bridge.budget import Budget
from npcsdk.bridge.frontend import Frontend
from npcsdk.bridge.pool import UNDER_WAY, Pool
from npcsdk.bridge.service import Service
from npcsdk.bridge.sessions import ServiceLimits
from npcsdk.errors import ModelError
from npcsdk.events import Action, End, Event, Failed, Refused, Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from npcsdk.wire.client_peer import ClientPeer
from tests.bridge.fake_world import FakeWorld

WAIT = 5.0


class Client:
    """One route of a service, and what came back on it."""

    def __init__(self, desk: Desk, name: str, route: bytes | None = None) -> None:
        self.desk, self.name, self.route = desk, name, route or name.encode()
        desk.clients[self.route] = self
        self.heard: list[m.ServerEvent] = []

    def sends(self, command: m.Command) -> Client:
        self.desk.service.receive(self.route, command)
        return self

    def hello(self, **fields) -> Client:
        return self.sends(m.Hello(client=self.name, **fields))

    def open(self, conversation: str = "c", npc: str = "mira", **fields) -> Client:
        return self.sends(m.Open(conversation=conversation, npc=npc, **fields))

    def say(self, line: str, turn: str = "t", conversation: str = "c", **fields) -> Client:
        return self.sends(m.Say(conversation=conversation, turn=turn, line=line, **fields))

    def until(self, wanted: Callable[[m.ServerEvent], bool]) -> m.ServerEvent:
        with self.desk.changed:
            found = self.desk.changed.wait_for(lambda: next(filter(wanted, self.heard), None), WAIT)
        assert found, f"never came; heard {self.heard}"
        return found

    def turn(self, turn: str = "t") -> list[Event]:
        """The turn's events to its end."""
        last = self.until(
            lambda one: (
                getattr(one, "turn", None) == turn
                and not isinstance(getattr(one, "event", 0), Text | Action | Refused)
            )
        )
        if isinstance(last, m.Problem):
            return [Failed(code=last.code, message=last.message, hint=last.hint)]
        return [one.event for one in self.heard if isinstance(one, m.TurnEvent) and one.turn == turn]

    def problem(self) -> m.Problem:
        return self.until(lambda one: isinstance(one, m.Problem))


class Desk:
    """A service, its world, and its clients by route."""

    def __init__(self, limits: ServiceLimits | None = None, world: Any = None) -> None:
        self.changed = threading.Condition()
        self.clients: dict[bytes, Client] = {}
        self.drained = threading.Event()
        self.service = Service(self._emit, limits=limits, drained=self.drained.set)
        self.world = world or FakeWorld()

    def _emit(self, route: bytes, payload: bytes) -> None:
        with self.changed:
            if client := self.clients.get(route):
                client.heard.append(codec.decode_event(payload))
            self.changed.notify_all()

    def client(self, name: str = "ada", **fields) -> Client:
        return Client(self, name).hello(**fields)


@pytest.fixture
def desk():
    desk = Desk()
    desk.service.attach(desk.world)
    yield desk
    desk.service.close()


def test_a_turn_from_open_to_end(desk: Desk) -> None:
    ada = desk.client().open().say("hello")
    assert ada.turn() == [
        Text(text="mira heard ", offset=0),
        Text(text="hello", offset=11),
        End(reason="stop", text="mira heard hello"),
    ]
    assert isinstance(ada.heard[0], m.Ready)
    assert [npc.id for npc in ada.heard[0].npcs] == ["mira", "tom"]
    assert [one.seq for one in ada.heard if isinstance(one, m.TurnEvent)] == [1, 2, 3]


def test_a_client_may_speak_before_the_world_is_loaded() -> None:
    desk = Desk()
    ada = desk.client(actions=({"name": "wave"},)).open().say("hello")
    desk.service.loading("model", 0.5)
    desk.service.attach(desk.world)
    assert ada.turn()[-1] == End(reason="stop", text="mira heard hello")
    assert [type(one) for one in ada.heard[:4]] == [m.Loading, m.Loading, m.Ready, m.Opened]
    assert [action.name for action in desk.world.actions] == ["wave"]
    desk.service.close()


def test_a_world_that_cannot_be_loaded_is_told_to_everybody_now_and_later() -> None:
    desk = Desk()
    early = desk.client("early")
    desk.service.fail(ModelError("No model.", hint="Get one.", code="model_not_found"))
    late = desk.client("late")
    for client in (early, late):
        goodbye = client.until(lambda one: isinstance(one, m.Goodbye))
        assert (goodbye.kind, goodbye.code, goodbye.hint) == ("model_error", "model_not_found", "Get one.")


def test_state_and_seed_reach_the_conversation(desk: Desk) -> None:
    ada = desk.client().open().say("state", state={"trust": 7}, seed=42)
    assert ada.turn()[-1].text == "{'trust': 7} 42"


def test_a_happening_is_a_turn_too(desk: Desk) -> None:
    ada = desk.client().open().sends(m.React(conversation="c", turn="t", happening="a bell"))
    assert ada.turn()[-1].text.endswith("a bell")


def test_an_action_waits_for_its_result(desk: Desk) -> None:
    ada = desk.client().open().say("act open_gate north")
    action = ada.until(lambda one: isinstance(getattr(one, "event", None), Action)).event
    ada.sends(m.Result(conversation="c", turn="t", action=action.id, value="opened"))
    ada.sends(m.Result(conversation="c", turn="t", action=action.id, status="failed", value="twice"))
    assert ada.turn()[-1].text == "Wait. done: opened"


def test_a_repeated_say_is_the_same_turn(desk: Desk) -> None:
    ada = desk.client().open().say("hello").say("hello")
    ada.turn()
    before = len(desk.world.lines)
    heard = [one for one in ada.heard if isinstance(one, m.TurnEvent)]
    ada.heard.clear()
    ada.say("hello")
    assert ada.turn()
    assert [one for one in ada.heard if isinstance(one, m.TurnEvent)] == heard[-3:]
    assert len(desk.world.lines) == before == 1


def test_a_second_turn_is_refused_while_the_first_runs(desk: Desk) -> None:
    ada = desk.client().open().say("for-ever")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    ada.say("hello", "t2")
    assert ada.turn("t2")[0].code == "turn_in_progress"
    ada.sends(m.Cancel(conversation="c", turn="t"))
    assert ada.turn("t")[-1].reason == "cancelled"
    assert ada.say("hello", "t3").turn("t3")[-1].text == "mira heard hello"


def test_conversations_run_side_by_side(desk: Desk) -> None:
    ada = desk.client().open("c").open("d", "tom").say("for-ever", "t1", "c").say("hello", "t2", "d")
    assert ada.turn("t2")[-1].text == "tom heard hello"
    ada.sends(m.Cancel(conversation="c", turn="t1"))
    ada.turn("t1")


def test_a_turn_that_waits_for_a_thread_can_be_cancelled() -> None:
    desk = Desk(ServiceLimits(threads=1))
    desk.service.attach(desk.world)
    ada = desk.client().open("c").open("d", "tom")
    ada.until(lambda one: isinstance(one, m.Opened) and one.conversation == "d")
    ada.say("for-ever", "t1", "c").say("hello", "t2", "d")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    ada.sends(m.Cancel(conversation="d", turn="t2")).sends(m.Cancel(conversation="c", turn="t1"))
    assert ada.turn("t2") == [End(reason="cancelled")]
    assert [line for _, line in desk.world.lines] == ["for-ever"]
    desk.service.close()


@pytest.mark.parametrize(
    ("line", "code"),
    [("  ", "empty_line"), ("fail", "backend_error"), ("raise", "internal_error")],
)
def test_a_turn_that_fails_ends_with_its_error_and_the_next_one_works(
    desk: Desk, line: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    ada = desk.client().open().say(line)
    last = ada.turn()[-1]
    assert isinstance(last, Failed)
    assert (last.code, bool(last.message), bool(last.hint)) == (code, True, True)
    assert ada.say("hello", "t2").turn("t2")[-1] == End(reason="stop", text="mira heard hello")


def test_what_was_said_before_an_error_is_in_it(desk: Desk) -> None:
    ada = desk.client().open().say("raise")
    assert ada.turn()[-1].text == "Hm"


def test_an_unknown_npc_is_a_problem_of_that_conversation_only(desk: Desk) -> None:
    ada = desk.client().open("c", "nobody").open("d")
    problem = ada.problem()
    assert (problem.code, problem.conversation, problem.answers) == ("npc_unknown", "c", "open")
    assert ada.say("hello", "t", "d").turn()[-1].text == "mira heard hello"


def test_a_turn_without_a_conversation_is_refused(desk: Desk) -> None:
    assert desk.client().say("hello").turn()[0].code == "no_conversation"


def test_a_stranger_has_to_greet(desk: Desk) -> None:
    assert Client(desk, "nobody").open().problem().code == "hello_first"


def test_conversations_of_one_client_are_bounded() -> None:
    desk = Desk(ServiceLimits(conversations=2))
    desk.service.attach(desk.world)
    ada = desk.client().open("1").open("2").open("3")
    assert ada.problem().code == "too_many_conversations"
    ada.sends(m.Close(conversation="1"))
    ada.until(lambda one: isinstance(one, m.Closed))
    ada.open("4")
    ada.until(lambda one: isinstance(one, m.Opened) and one.conversation == "4")
    desk.service.close()


def test_a_history_is_continued_but_not_by_two_at_once(desk: Desk) -> None:
    ada = desk.client().open("c")
    history = ada.until(lambda one: isinstance(one, m.Opened)).history
    ben = desk.client("ben").open("x", history=history)
    assert ben.problem().code == "history_in_use"
    ada.sends(m.Close(conversation="c"))
    # At once, while the first one may still be closing.
    ada.open("d", history=history).say("hello", "t", "d")
    assert ada.turn()[-1].text == "mira heard hello"
    assert desk.world.conversations[0].closed
    assert desk.world.conversations[1].id == history


def test_closing_cancels_and_says_so(desk: Desk) -> None:
    ada = desk.client().open().say("for-ever")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    ada.sends(m.Close(conversation="c"))
    ada.until(lambda one: isinstance(one, m.Closed))
    assert desk.world.conversations[0].closed
    assert not desk.world.conversations[0].running


def test_bad_actions_end_the_connection_with_the_reason(desk: Desk) -> None:
    ada = desk.client(actions=({"name": "9 lives"},))
    goodbye = ada.until(lambda one: isinstance(one, m.Goodbye))
    assert (goodbye.kind, goodbye.code) == ("action_error", "bad_action_name")


# Beside turns


def answer(ada: Client, request: str) -> m.Done | m.Problem:
    return ada.until(lambda one: getattr(one, "request", None) == request)


def test_a_clients_actions_are_its_own(desk: Desk) -> None:
    ada = desk.client("ada", actions=({"name": "wave"},)).open().say("actions")
    ben = desk.client("ben", actions=({"name": "bow"},)).open().say("actions")
    assert ada.turn()[-1].text == "wave"
    assert ben.turn()[-1].text == "bow"


def test_a_request_is_carried_out_once_and_answered_as_often_as_it_is_asked(desk: Desk) -> None:
    note = m.Remember(request="r", npc="mira", text="It rained.", place="the mill")
    ada = desk.client().sends(note)
    assert answer(ada, "r") == m.Done(request="r", answers="remember")
    ada.heard.clear()
    ada.sends(note)
    assert answer(ada, "r") == m.Done(request="r", answers="remember")
    assert desk.world.notes == [("mira", "", "It rained.", "the mill")]


def test_what_a_director_asks_for_is_done(desk: Desk) -> None:
    ada = desk.client().sends(m.Save(request="1", slot="here"))
    answer(ada, "1")
    ada.sends(m.Slots(request="2")).sends(m.Load(request="3", slot="nowhere"))
    assert answer(ada, "2").value == {"slots": ["here"]}
    assert answer(ada, "3").code == "slot_unknown"
    answer(ada.sends(m.SetValues(request="4", npc="mira", values={"trust": 3})), "4")
    assert desk.world.notes == [("mira", "player", {"trust": 3})]


def test_requests_of_a_conversation_wait_for_it_and_need_it(desk: Desk) -> None:
    ada = desk.client().open().sends(m.Prepare(request="1", conversation="c"))
    assert answer(ada, "1").value == {"computed": 7, "cached": 0}
    answer(ada.sends(m.State(request="2", conversation="c", state={"night": True})), "2")
    assert ("mira", "state", {"night": True}) in desk.world.notes
    assert answer(ada.sends(m.Prepare(request="3", conversation="x")), "3").code == "no_conversation"
    heard = m.Heard(request="4", conversation="c", turn="unknown", offset=1)
    assert answer(ada.sends(heard), "4").code == "turn_unknown"


def test_what_was_heard_is_told_while_the_turn_runs(desk: Desk) -> None:
    ada = desk.client().open().say("for-ever")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    ada.sends(m.Heard(request="1", conversation="c", turn="t", offset=3))
    assert isinstance(answer(ada, "1"), m.Done)
    ada.sends(m.Cancel(conversation="c", turn="t"))
    assert ada.turn()[-1].reason == "cancelled"


def test_typing_prepares(desk: Desk) -> None:
    ada = desk.client().open()
    ada.until(lambda one: isinstance(one, m.Opened))
    ada.sends(m.Typing(conversation="c", line="Where is"))
    assert desk.world.prepared.get(timeout=WAIT) == ("mira", "Where is")


def test_a_subscriber_overhears_others_and_not_itself(desk: Desk) -> None:
    ada, ben = desk.client("ada").open(), desk.client("ben").open()
    answer(ada.sends(m.Subscribe(request="1", npc="mira")), "1")
    ben.say("hello").turn()
    last = ada.until(lambda one: isinstance(one, m.Overheard) and one.content["event"] == "end")
    heard = [one for one in ada.heard if isinstance(one, m.Overheard)]
    assert heard[0].content == {"event": "said", "line": "hello"}
    assert (last.content["text"], last.player) == ("mira heard hello", "player")
    count = len(heard)
    ada.say("hello", "own").turn("own")
    answer(ada.sends(m.Subscribe(request="2", npc="mira", on=False)), "2")
    ben.say("hello", "t2").turn("t2")
    assert len([one for one in ada.heard if isinstance(one, m.Overheard)]) == count


# Load


def test_a_client_with_too_many_turns_is_told_when_to_come_back() -> None:
    desk = Desk(ServiceLimits(turns_per_minute=8))
    desk.service.attach(desk.world)
    ada = desk.client().open()
    for turn in ("1", "2"):
        assert ada.say("hello", turn).turn(turn)[-1] == End(reason="stop", text="mira heard hello")
    ada.say("hello", "3")
    problem = ada.problem()
    assert (problem.code, problem.turn) == ("busy", "3")
    assert 0 < problem.retry_ms <= 60_000 / 8
    assert desk.client("ben").open().say("hello").turn()[-1].text == "mira heard hello"
    desk.service.close()


def test_a_full_queue_says_so_at_once() -> None:
    desk = Desk(ServiceLimits(threads=1, queue=1))
    desk.service.attach(desk.world)
    ada = desk.client().open("a").open("b").open("c")
    for name in "abc":
        ada.until(lambda one, name=name: isinstance(one, m.Opened) and one.conversation == name)
    ada.say("for-ever", "1", "a")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    ada.say("hello", "2", "b").say("hello", "3", "c")
    assert ada.turn("3")[0].code == "busy"
    ada.sends(m.Cancel(conversation="a", turn="1"))
    assert ada.turn("2")[-1].text == "mira heard hello"
    desk.service.close()


def test_clients_take_turns_whoever_asks_more() -> None:
    pool, order, go, all_done = Pool(1, "test"), [], threading.Event(), threading.Event()
    pool.submit(go.wait, "greedy")
    for number in range(5):
        pool.submit(lambda number=number: order.append(f"greedy {number}"), "greedy")
    pool.submit(lambda: order.append("modest"), "modest")
    pool.submit(all_done.set, "zzz last")
    go.set()
    assert all_done.wait(WAIT)
    assert order.index("modest") <= 1
    pool.close()


def test_a_job_that_goes_on_without_a_thread_keeps_its_place() -> None:
    pool, order, held, other = Pool(1, "test"), [], threading.Event(), threading.Event()
    pool.submit(lambda: held.set() or UNDER_WAY)
    assert held.wait(WAIT)
    pool.submit(lambda: order.append("another") or other.set())
    pool.resume(lambda: order.append("goes on") or UNDER_WAY)
    while not order:
        threading.Event().wait(0.001)
    assert (order, pool.waiting) == (["goes on"], 1)
    pool.done()
    assert other.wait(WAIT)
    assert order == ["goes on", "another"]
    pool.submit(lambda: UNDER_WAY)
    pool.resume(lambda: None)  # it ends in its thread
    last = threading.Event()
    pool.submit(last.set)
    assert last.wait(WAIT)
    pool.close()


@given(st.lists(st.floats(0, 10), max_size=50), st.floats(1, 1000), st.floats(1, 50))
def test_a_budget_never_gives_more_than_its_rate(waits: list[float], rate: float, burst: float) -> None:
    budget, now, taken = Budget(rate, burst, 0.0), 0.0, 0
    for wait in waits:
        now += wait
        left = budget.take(now)
        taken += left is None
        if left is not None:
            assert budget.take(now + left / 1000 + 0.001) is None
            now, taken = now + left / 1000 + 0.001, taken + 1
    assert taken <= burst + rate / 60 * now + 1


# Coming back


def test_a_client_that_comes_back_hears_what_it_missed_once(desk: Desk) -> None:
    ada = desk.client().open().say("act wave you")
    action = ada.until(lambda one: isinstance(getattr(one, "event", None), Action))
    desk.service.vanished(ada.route, 0.0)
    again = Client(desk, "ada", b"another route").hello(seen={"c": 1})
    assert again.until(lambda one: isinstance(one, m.TurnEvent)) == action
    again.sends(m.Result(conversation="c", turn="t", action="a1", value="ok"))
    assert again.turn()[-1].text == "Wait. done: ok"
    assert [one.seq for one in again.heard if isinstance(one, m.TurnEvent)] == [2, 3, 4]


def test_a_client_that_does_not_come_back_is_given_up(desk: Desk) -> None:
    ada = desk.client().open().say("for-ever")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    desk.service.vanished(ada.route, 100.0)
    desk.service.tick(105.0)
    assert desk.world.conversations[0].running
    desk.service.tick(111.0)
    again = Client(desk, "ada", b"another route").hello(seen={"c": 1})
    assert again.problem().code == "conversation_lost"
    deadline = time.monotonic() + WAIT
    while not desk.world.conversations[0].closed and time.monotonic() < deadline:
        threading.Event().wait(0.005)
    assert desk.world.conversations[0].closed
    assert not desk.world.conversations[0].running


def test_the_newest_connection_with_a_name_is_the_client(desk: Desk) -> None:
    first = desk.client("ada").open()
    first.until(lambda one: isinstance(one, m.Opened))
    second = Client(desk, "ada", b"second").hello()
    assert first.until(lambda one: isinstance(one, m.Goodbye)).code == "replaced"
    second.say("hello")
    assert second.turn()[-1].text == "mira heard hello"


def test_events_that_are_not_kept_any_more_are_said_to_be_lost() -> None:
    desk = Desk(ServiceLimits(replay_events=10))
    desk.service.attach(desk.world)
    ada = desk.client().open().say("count 50")
    ada.turn()
    desk.service.vanished(ada.route, 0.0)
    again = Client(desk, "ada", b"again").hello(seen={"c": 5})
    assert again.problem().code == "conversation_lost"
    desk.service.close()


def test_a_drained_service_ends_what_runs_and_begins_nothing(desk: Desk) -> None:
    ada = desk.client().open().open("d").say("for-ever")
    ada.until(lambda one: isinstance(one, m.TurnEvent))
    desk.service.drain()
    assert ada.say("hello", "t2", "d").turn("t2")[0].code == "shutting_down"
    assert not desk.drained.is_set()
    ada.sends(m.Cancel(conversation="c", turn="t"))
    assert desk.drained.wait(WAIT)


# Any commands, in any order, from any number of connections

names = st.sampled_from(["a", "b", "c"])
lines = st.sampled_from(["hello", "", "count 3", "fail", "for-ever", "do wave", "refuse"])
any_command = st.one_of(
    st.builds(m.Hello, client=names, seen=st.dictionaries(names, st.integers(0, 5), max_size=2)),
    st.builds(m.Open, conversation=names, npc=st.sampled_from(["mira", "nobody"]), history=st.none() | names),
    st.builds(m.Close, conversation=names),
    st.builds(m.Say, conversation=names, turn=names, line=lines),
    st.builds(m.Cancel, conversation=names, turn=names),
    st.builds(m.Result, conversation=names, turn=names, action=st.just("a1")),
    st.builds(m.Prepare, request=names, conversation=names),
    st.builds(m.Typing, conversation=names, line=lines),
    st.builds(m.Heard, request=names, conversation=names, turn=names, offset=st.integers(0, 9)),
    st.builds(m.Load, request=names, slot=names),
    st.builds(m.Subscribe, request=names, npc=st.sampled_from(["mira", "x"]), on=st.booleans()),
    st.builds(m.Ping),
    st.just(m.Leave()),
    st.none(),  # the connection is gone
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"1", b"2"]), any_command), max_size=25))
def test_no_order_of_commands_breaks_the_service(sequence: list[tuple[bytes, m.Command | None]]) -> None:
    desk = Desk(ServiceLimits(threads=2, conversations=2))
    desk.service.attach(desk.world)
    for route, command in sequence:
        if command is None:
            desk.service.vanished(route, 0.0)
        else:
            desk.service.receive(route, command)
    for name in ("a", "b", "c"):  # whatever was left running
        desk.service.receive(b"end", m.Hello(client=name))
        desk.service.receive(b"end", m.Leave())
    last = desk.client("last").open().say("hello")
    assert last.turn()[-1] == End(reason="stop", text="mira heard hello")
    desk.service.close()


# Everything at once: a client's peer against the service over a link that loses what it likes


@pytest.mark.parametrize("seed", range(8))
def test_over_a_bad_link_every_turn_is_heard_once_whole_and_in_order(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    frontend = Frontend()
    peer = ClientPeer(client="ada", silence=60.0)
    inbox: list[tuple[bytes, bytes]] = []
    lock = threading.Lock()

    def emit(route: bytes, payload: bytes) -> None:
        with lock:
            inbox.append((route, payload))

    service = Service(emit)
    service.attach(desk.world)
    route, now, texts = b"r0", 1000.0, {}
    peer.connect(now)
    peer.open("c", "mira", player="player", history=None, now=now)
    deadline = time.monotonic() + 30
    for number in range(4):
        turn = f"t{number}"
        peer.begin(m.Say(conversation="c", turn=turn, line="count 30"), now)
        last = None
        while last is None:
            assert time.monotonic() < deadline, "the turn never ended"
            now += 0.25
            # Once in a while the connection breaks, and what is on its way in either direction is lost.
            broken = chance.random() < 0.2
            for payload in peer.outgoing():
                if broken and chance.random() < 0.5:
                    break
                answers, forward = frontend.receive(route, payload, now)
                for answer in answers:
                    emit(route, answer)
                if forward is not None:
                    service.receive(route, codec.decode_command(forward))
            with lock:
                taken, inbox[:] = inbox[:20], inbox[20:]
            for to, payload in taken:
                if to == route:
                    peer.receive(payload, now)
            if broken:
                service.vanished(route, now)
                frontend.forget(route)
                route = b"r%d" % chance.randrange(1 << 30)
            peer.tick(now)
            for notice in peer.notices():
                if isinstance(notice, m.TurnEvent):
                    assert notice.turn == turn
                    if isinstance(notice.event, Text):
                        texts.setdefault(turn, []).append(notice.event.text)
                    else:
                        last = notice.event
        assert last == End(reason="stop", text="30"), last
        assert texts[turn] == [f"{number} " for number in range(30)]
    service.close()
