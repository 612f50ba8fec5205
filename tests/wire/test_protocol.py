"""Both peers, driven by hand: what is sent when, and how a turn always comes to an end."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npcsdk.errors import BridgeError, ProtocolError, TurnError
from npcsdk.events import Action, ActionStarted, End, Failed, Text
from npcsdk.wire import codec
from npcsdk.wire import messages as m
from npcsdk.wire.client_peer import ClientPeer
from npcsdk.wire.server_peer import ServerPeer
from npcsdk.wire.version import PROTOCOL, agreed_version

READY = m.Ready(world="Testholm", npcs=(m.NpcInfo(id="mira", name="Mira"),))


class Server:
    """What a test says in the server's place."""

    def __init__(self, peer: ClientPeer) -> None:
        self.peer = peer
        self.now = 100.0
        self.seq = 0

    def heard(self) -> list[m.Command]:
        return [codec.decode_command(payload) for payload in self.peer.outgoing()]

    def tells(self, *events: m.ServerEvent) -> list[m.ServerEvent]:
        for event in events:
            self.peer.receive(codec.encode(event), self.now)
        return self.peer.notices()

    def turn(self, turn: str, *events, conversation: str = "c1") -> list[m.ServerEvent]:
        told = []
        for event in events:
            self.seq += 1
            told += self.tells(m.TurnEvent(conversation=conversation, turn=turn, seq=self.seq, event=event))
        return told

    def later(self, seconds: float, step: float = 0.25) -> list[m.ServerEvent]:
        told = []
        for _ in range(round(seconds / step)):
            self.now += step
            self.peer.tick(self.now)
            told += self.peer.notices()
        return told


def say(turn: str, line: str = "Hello.", conversation: str = "c1") -> m.Say:
    return m.Say(conversation=conversation, turn=turn, line=line)


@pytest.fixture
def server() -> Server:
    """A client that is connected and has a conversation open."""
    server = Server(ClientPeer(client="me"))
    server.peer.connect(server.now)
    server.tells(m.Welcome(epoch="e1"), READY)
    server.peer.open("c1", "mira", player="player", history=None, now=server.now)
    server.tells(m.Opened(conversation="c1", npc="mira", player="player", history="h1"))
    server.heard()
    return server


def begin(server: Server, turn: str) -> None:
    server.peer.begin(say(turn), server.now)


def ends(notices: list[m.ServerEvent]) -> dict[str, object]:
    return {
        one.turn: one.event
        for one in notices
        if isinstance(one, m.TurnEvent) and isinstance(one.event, End | Failed)
    }


# Greeting


def test_a_client_says_hello_first_and_the_rest_after_the_welcome() -> None:
    server = Server(ClientPeer(client="me", actions=[{"name": "open_gate"}]))
    server.peer.open("c1", "mira", player="Ada", history=None, now=server.now)
    server.peer.begin(say("t1"), server.now)
    (hello,) = server.heard()
    assert isinstance(hello, m.Hello)
    assert (hello.client, hello.protocol, hello.actions) == ("me", PROTOCOL, ({"name": "open_gate"},))
    server.tells(m.Welcome(epoch="e1"))
    assert [type(one) for one in server.heard()] == [m.Open, m.Say]


def test_the_world_is_told_when_it_is_ready() -> None:
    server = Server(ClientPeer(client="me"))
    server.peer.connect(server.now)
    told = server.tells(m.Welcome(epoch="e1"), m.Loading(stage="model", progress=0.5), READY)
    assert [type(one) for one in told] == [m.Welcome, m.Loading, m.Ready]
    assert server.peer.ready == READY


def test_another_major_version_ends_it() -> None:
    server = Server(ClientPeer(client="me"))
    server.peer.connect(server.now)
    (told,) = server.tells(m.Welcome(epoch="e1", protocol=(PROTOCOL[0] + 1, 0)))
    assert isinstance(told, m.Goodbye)
    assert told.code == "unsupported_version"
    with pytest.raises(BridgeError):
        server.peer.connect(server.now)


def test_actions_that_cannot_be_sent_are_an_error_at_once() -> None:
    with pytest.raises(ProtocolError):
        ClientPeer(client="me", actions=[{"name": object()}])


# Turns


def test_a_turn_from_say_to_end(server: Server) -> None:
    begin(server, "t1")
    assert server.heard() == [say("t1")]
    told = server.turn("t1", Text(text="Hi"), End(reason="stop", text="Hi"))
    assert [one.event for one in told] == [Text(text="Hi"), End(reason="stop", text="Hi")]


def test_an_event_that_comes_twice_is_told_once(server: Server) -> None:
    begin(server, "t1")
    action = m.TurnEvent(conversation="c1", turn="t1", seq=1, event=Action(id="a", name="wave", arguments={}))
    assert len(server.tells(action, action)) == 1


def test_a_turn_in_a_conversation_that_is_not_open_is_refused_here(server: Server) -> None:
    with pytest.raises(TurnError) as caught:
        server.peer.begin(say("t1", conversation="other"), server.now)
    assert caught.value.code == "no_conversation"


def test_a_refused_turn_ends_with_the_reason(server: Server) -> None:
    begin(server, "t1")
    begin(server, "t2")
    refused = m.Problem(code="turn_in_progress", message="Still speaking.", conversation="c1", turn="t2")
    assert ends(server.tells(refused)) == {"t2": Failed(code="turn_in_progress", message="Still speaking.")}
    assert ends(server.turn("t1", End(reason="stop"))) == {"t1": End(reason="stop")}


def test_a_conversation_that_cannot_be_opened_ends_its_turns() -> None:
    server = Server(ClientPeer(client="me"))
    server.peer.open("c1", "nobody", player="player", history=None, now=server.now)
    server.peer.begin(say("t1"), server.now)
    server.tells(m.Welcome(epoch="e1"))
    problem = m.Problem(code="npc_unknown", message="Who?", answers="open", conversation="c1")
    assert ends(server.tells(problem)) == {"t1": Failed(code="npc_unknown", message="Who?")}


def test_after_a_cancel_the_next_line_waits_for_the_end(server: Server) -> None:
    begin(server, "t1")
    server.peer.cancel("t1")
    begin(server, "t2")
    assert server.heard() == [say("t1"), m.Cancel(conversation="c1", turn="t1", actions=())]
    server.turn("t1", End(reason="cancelled"))
    assert server.heard() == [say("t2")]


def test_a_turn_that_was_never_sent_is_cancelled_here(server: Server) -> None:
    begin(server, "t1")
    server.peer.cancel("t1")
    begin(server, "t2")
    server.peer.cancel("t2")
    assert ends(server.peer.notices()) == {"t2": End(reason="cancelled")}
    server.turn("t1", End(reason="cancelled"))
    assert say("t2") not in server.heard()


def test_no_action_comes_after_a_cancel_and_the_end_says_which_did(server: Server) -> None:
    begin(server, "t1")
    given = Action(id="a1", name="wave", arguments={})
    assert [told.event for told in server.turn("t1", given)] == [given]
    server.peer.cancel("t1")
    assert server.heard()[-1] == m.Cancel(conversation="c1", turn="t1", actions=("a1",))
    late = [ActionStarted(id="a2", name="fly"), Action(id="a2", name="fly", arguments={})]
    end = End(reason="cancelled", actions=("a1", "a2", "a3"), retracted=("a4",))
    told = server.turn("t1", *late, end)
    assert [one.event for one in told] == [End(reason="cancelled", actions=("a1",), retracted=("a4", "a2"))]


def test_cancelling_a_waiting_turn_lets_no_other_start_early(server: Server) -> None:
    begin(server, "t1")
    server.peer.cancel("t1")
    server.heard()
    begin(server, "t2")
    begin(server, "t3")
    server.peer.cancel("t2")
    assert server.heard() == []  # t1 is still ending
    server.turn("t1", End(reason="cancelled"))
    assert server.heard() == [say("t3")]


def test_cancelling_twice_or_too_late_is_harmless(server: Server) -> None:
    begin(server, "t1")
    server.peer.cancel("t1")
    server.peer.cancel("t1")
    assert server.heard().count(m.Cancel(conversation="c1", turn="t1", actions=())) == 1
    server.turn("t1", End(reason="cancelled"))
    server.peer.cancel("t1")
    server.peer.cancel("never")
    assert server.heard() == []


def test_closing_a_conversation_ends_its_turns_and_silences_it(server: Server) -> None:
    begin(server, "t1")
    server.peer.close("c1")
    assert ends(server.peer.notices()) == {"t1": End(reason="cancelled")}
    assert server.heard()[-1] == m.Close(conversation="c1")
    assert server.turn("t1", Text(text="late"), End(reason="cancelled")) == []


def test_a_result_goes_out_while_its_turn_runs_and_not_after(server: Server) -> None:
    begin(server, "t1")
    server.heard()
    server.peer.result("t1", "a1", "done", {"open": True})
    assert server.heard() == [
        m.Result(conversation="c1", turn="t1", action="a1", status="done", value={"open": True})
    ]
    server.turn("t1", End(reason="stop"))
    server.peer.result("t1", "a1", "done", None)
    assert server.heard() == []


# Broken connections


def test_after_a_reconnection_only_what_has_no_answer_is_sent_again(server: Server) -> None:
    begin(server, "t1")
    server.turn("t1", Text(text="One"))
    server.peer.result("t1", "a1", "done", 1)
    server.peer.open("c2", "mira", player="player", history=None, now=server.now)
    server.peer.begin(say("t2", conversation="c2"), server.now)
    server.heard()
    server.tells(m.Problem(code="hello_first", message="Who are you?"))
    (hello,) = server.heard()
    assert isinstance(hello, m.Hello)
    assert (hello.client, hello.epoch, hello.seen) == ("me", "e1", {"c1": 1})
    server.tells(m.Welcome(epoch="e1"))
    assert server.heard() == [
        m.Result(conversation="c1", turn="t1", action="a1", status="done", value=1),
        m.Open(conversation="c2", npc="mira"),
        say("t2", conversation="c2"),
    ]
    assert ends(server.turn("t1", Text(text="Two"), End(reason="stop"))) == {"t1": End(reason="stop")}


def test_a_server_of_another_epoch_has_lost_the_turns(server: Server) -> None:
    begin(server, "t1")
    server.heard()
    server.tells(m.Problem(code="hello_first", message="Who are you?"))
    told = server.tells(m.Welcome(epoch="e2"))
    assert ends(told)["t1"].code == "turn_lost"
    # It goes on where it was.
    assert server.heard()[1:] == [m.Open(conversation="c1", npc="mira", history="h1")]
    begin(server, "t2")
    assert server.heard() == [say("t2")]
    server.seq = 0
    assert ends(server.turn("t2", End(reason="stop"))) == {"t2": End(reason="stop")}


def test_a_reset_ends_turns_with_its_reason_and_the_next_line_greets_again(server: Server) -> None:
    begin(server, "t1")
    server.heard()
    told = server.tells(m.Reset(code="worker_died", message="It died.", hint="Again."))
    assert ends(told) == {"t1": Failed(code="worker_died", message="It died.", hint="Again.")}
    assert server.heard() == []
    begin(server, "t2")
    assert [type(one) for one in server.heard()] == [m.Hello]
    server.tells(m.Welcome(epoch="e2"))
    assert server.heard() == [m.Open(conversation="c1", npc="mira", history="h1"), say("t2")]


def test_after_a_reset_a_client_of_a_server_greets_in_time_to_hear_that_the_world_is_back(
    server: Server,
) -> None:
    server.tells(m.Reset(code="worker_died", message="It died."))
    server.later(0.25)
    assert [type(one) for one in server.heard()] == [m.Hello]
    ready = m.Ready(world="Testholm", npcs=())
    assert server.tells(m.Welcome(epoch="e2"), m.Loading(stage="world"), ready)[-1] == ready
    assert server.peer.ready == ready


def test_a_lost_conversation_is_opened_again(server: Server) -> None:
    begin(server, "t1")
    server.heard()
    lost = m.Problem(code="conversation_lost", message="Gone.", conversation="c1")
    assert ends(server.tells(lost))["t1"].code == "turn_lost"
    begin(server, "t2")
    assert server.heard() == [m.Open(conversation="c1", npc="mira", history="h1"), say("t2")]


def test_what_is_missing_is_asked_for_again(server: Server) -> None:
    begin(server, "t1")
    server.turn("t1", Text(text="1"))
    server.heard()
    server.seq += 1  # one is lost
    assert server.turn("t1", Text(text="3")) == []
    server.later(0.5)
    (hello,) = [one for one in server.heard() if isinstance(one, m.Hello)]
    assert hello.seen == {"c1": 1}
    server.tells(m.Welcome(epoch="e1"))
    server.seq = 1
    told = server.turn("t1", Text(text="2"), Text(text="3"), End(reason="stop"))
    assert len(told) == 3


def test_what_cannot_be_had_again_does_not_hold_up_the_rest(server: Server) -> None:
    begin(server, "t1")
    server.seq += 1
    for _ in range(8):
        server.seq = 1
        told = server.turn("t1", End(reason="stop"))
        if told:
            break
        server.later(0.5)
        server.tells(m.Welcome(epoch="e1"))
    assert ends(told) == {"t1": End(reason="stop")}


def test_a_silent_server_is_pinged_and_then_given_up(server: Server) -> None:
    begin(server, "t1")
    server.heard()
    server.later(1.0)
    assert m.Ping() in server.heard()
    told = server.later(6.0)
    assert ends(told)["t1"].code == "server_unreachable"
    assert [one.code for one in told if isinstance(one, m.Problem)] == ["server_unreachable"]
    assert server.peer.state == "greeting"  # it goes on trying


def test_a_server_that_comes_back_is_found_without_being_asked(server: Server) -> None:
    server.later(7.0)
    server.heard()
    server.later(0.5)
    assert isinstance(server.heard()[0], m.Hello)
    server.tells(m.Welcome(epoch="e2"), READY)
    begin(server, "t1")
    server.heard()
    server.seq = 0
    assert ends(server.turn("t1", End(reason="stop"))) == {"t1": End(reason="stop")}


def test_a_line_to_a_server_that_is_gone_fails_within_seconds(server: Server) -> None:
    server.later(7.0)
    begin(server, "t1")
    told = server.later(5.5)
    assert ends(told)["t1"].code == "server_unreachable"


def test_a_client_that_slept_does_not_blame_the_server(server: Server) -> None:
    begin(server, "t1")
    server.later(1.0)
    server.later(60.0, step=60.0)
    assert ends(server.later(2.0)) == {}
    assert ends(server.turn("t1", End(reason="stop"))) == {"t1": End(reason="stop")}


def saves(server: Server, request: str = "r1") -> m.Save:
    command = m.Save(request=request, slot="here")
    server.peer.request(command, server.now)
    return command


def problems(notices: list[m.ServerEvent]) -> dict[str | None, str]:
    return {one.request: one.code for one in notices if isinstance(one, m.Problem)}


def test_a_request_is_answered_once(server: Server) -> None:
    command = saves(server)
    assert server.heard() == [command]
    done = m.Done(request="r1", answers="save")
    assert server.tells(done) == [done]
    assert server.tells(done) == []


def test_a_request_without_an_answer_is_asked_again_on_a_new_connection(server: Server) -> None:
    command = saves(server)
    server.heard()
    server.tells(m.Problem(code="hello_first", message="Who are you?"))
    server.heard()
    server.tells(m.Welcome(epoch="e1", protocol=PROTOCOL))
    assert command in server.heard()


def test_a_request_to_a_server_that_was_restarted_is_lost(server: Server) -> None:
    saves(server)
    server.heard()
    server.tells(m.Problem(code="hello_first", message="Who are you?"))
    assert problems(server.tells(m.Welcome(epoch="e2", protocol=PROTOCOL))) == {"r1": "request_lost"}


def test_an_older_server_is_not_asked_for_what_it_does_not_know(server: Server) -> None:
    server.tells(m.Problem(code="hello_first", message="Who are you?"))
    server.tells(m.Welcome(epoch="e1", protocol=(1, 0)))
    server.heard()
    saves(server)
    server.peer.typing("c1", "Where is")
    assert server.heard() == []
    assert problems(server.peer.notices()) == {"r1": "not_supported"}


def test_texts_that_travel_as_one_are_no_gap(server: Server) -> None:
    begin(server, "t1")
    place = {"conversation": "c1", "turn": "t1"}
    texts = [m.TurnEvent(**place, seq=n, event=Text(text=f"{n} ", offset=2 * n)) for n in (1, 2, 3)]
    (joined,) = codec.coalesced([codec.encode(one) for one in texts])
    one = codec.decode_event(joined)
    assert (one.first, one.seq, one.event) == (1, 3, Text(text="1 2 3 ", offset=2))
    assert server.tells(one) == [one]
    assert server.tells(texts[2]) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["text", "end", "noise"])), max_size=30))
def test_joining_texts_loses_nothing_and_keeps_the_order(kinds: list[tuple[str, str]]) -> None:
    payloads, counts, said = [], dict.fromkeys("ab", 0), dict.fromkeys("ab", "")
    for turn, kind in kinds:
        if kind == "noise":
            payloads.append(codec.encode(m.Pong(nonce=1)))
            continue
        counts[turn] += 1
        event = Text(text=f"{turn}{counts[turn]} ") if kind == "text" else End(reason="stop")
        said[turn] += event.text
        payloads.append(codec.encode_turn_event("c" + turn, turn, counts[turn], event))
    joined = codec.coalesced(codec.coalesced(payloads))
    heard, seen = dict.fromkeys("ab", ""), dict.fromkeys("ab", 0)
    for message in map(codec.decode_event, joined):
        if isinstance(message, m.TurnEvent):
            assert (message.first or message.seq) == seen[message.turn] + 1
            seen[message.turn] = message.seq
            heard[message.turn] += message.event.text
    assert (heard, seen) == (said, counts)


def test_a_goodbye_ends_everything_with_its_reason(server: Server) -> None:
    begin(server, "t1")
    told = server.tells(m.Goodbye(code="shutting_down", message="Bye."))
    assert ends(told) == {"t1": Failed(code="shutting_down", message="Bye.")}
    with pytest.raises(BridgeError):
        begin(server, "t2")


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_noise_from_a_server_changes_nothing(noise: list[bytes]) -> None:
    server = Server(ClientPeer(client="me"))
    server.peer.connect(server.now)
    server.tells(m.Welcome(epoch="e1"), READY)
    server.heard()
    for payload in noise:
        server.peer.receive(payload, server.now)
    assert server.peer.notices() == []
    assert server.peer.state == "open"


# The server's peer


def peer() -> ServerPeer:
    return ServerPeer(epoch="e1", limits={"message_bytes": 1000}, message_bytes=1000)


def answers(server: ServerPeer) -> list[m.ServerEvent]:
    return [codec.decode_event(payload) for payload in server.outgoing()]


def test_the_server_welcomes_and_hands_on() -> None:
    server = peer()
    hello = m.Hello(client="me")
    assert server.receive(codec.encode(hello)) == hello
    (welcome,) = answers(server)
    assert isinstance(welcome, m.Welcome)
    assert (welcome.epoch, welcome.protocol) == ("e1", PROTOCOL)
    assert server.receive(codec.encode(say("t1"))) == say("t1")
    assert answers(server) == []


def test_a_ping_is_answered_here() -> None:
    server = peer()
    server.receive(codec.encode(m.Hello(client="me")))
    answers(server)
    assert server.receive(codec.encode(m.Ping(nonce=9))) is None
    assert answers(server) == [m.Pong(nonce=9)]


@pytest.mark.parametrize("command", [say("t1"), m.Ping(), m.Cancel(conversation="c1", turn="t1", actions=())])
def test_without_a_hello_nothing_is_done(command: m.Command) -> None:
    server = peer()
    assert server.receive(codec.encode(command)) is None
    (problem,) = answers(server)
    assert isinstance(problem, m.Problem)
    assert problem.code == "hello_first"


@pytest.mark.parametrize(
    ("version", "agreed"), [((1, 0), (1, 0)), ((1, 7), (1, 1)), ((2, 0), None), ((0, 9), None)]
)
def test_versions(version: tuple[int, int], agreed: tuple[int, int] | None) -> None:
    assert agreed_version(version, (1, 1)) == agreed
    server = peer()
    server.receive(codec.encode(m.Hello(client="me", protocol=version)))
    (answer,) = answers(server)
    if agreed is None:
        assert isinstance(answer, m.Goodbye)
        assert answer.code == "unsupported_version"
    else:
        assert isinstance(answer, m.Welcome)
        assert answer.protocol == agreed


def test_a_newer_server_talks_down_to_an_older_client() -> None:
    assert agreed_version((1, 2), (1, 5)) == (1, 2)


def test_a_message_over_the_limit_is_refused_by_name() -> None:
    server = peer()
    server.receive(codec.encode(m.Hello(client="me")))
    answers(server)
    assert server.receive(codec.encode(say("t1", "x" * 2000))) is None
    assert [one.code for one in answers(server)] == ["too_large"]


def unreadable(**fields: object) -> bytes:
    return msgpack.packb({"command": "say", "conversation": "c1", "turn": "t1", **fields})


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (unreadable(line=7), "bad_field"),
        (unreadable(line="x" * 2000), "too_large"),
        (unreadable(state=[[[0] * 700] * 300]), "too_large"),
        (unreadable(line="Hello.")[:-3], "malformed"),
        (unreadable(line=b"\xff")[:-3] + b"\xa1\xff\xff", "malformed"),
        (unreadable() + b"\xc1", "malformed"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_turn(payload: bytes, code: str) -> None:
    server = peer()
    server.receive(codec.encode(m.Hello(client="me")))
    answers(server)
    assert server.receive(payload) is None
    (problem,) = answers(server)
    assert (problem.code, problem.answers, problem.conversation, problem.turn) == (code, "say", "c1", "t1")


def test_a_turn_that_the_server_could_not_read_ends(server: Server) -> None:
    begin(server, "t1")
    refused = m.Problem(code="too_large", message="Too large.", answers="say", turn="t1")
    assert ends(server.tells(refused))["t1"].code == "too_large"


def test_a_request_that_cannot_be_read_is_refused_by_its_name() -> None:
    server = peer()
    server.receive(codec.encode(m.Hello(client="me")))
    answers(server)
    server.receive(msgpack.packb({"request": "r1", "command": "save", "slot": 5}))
    (problem,) = answers(server)
    assert (problem.code, problem.request, problem.turn) == ("bad_field", "r1", None)


@given(st.binary(max_size=200))
def test_where_a_message_belongs_is_looked_for_in_anything(payload: bytes) -> None:
    assert set(codec.place_of(payload)) <= {"command", "conversation", "turn", "request"}


@given(st.lists(st.binary(max_size=80), max_size=10))
def test_noise_costs_its_sender_an_error_and_nothing_else(noise: list[bytes]) -> None:
    server = peer()
    server.receive(codec.encode(m.Hello(client="me")))
    answers(server)
    for payload in noise:
        assert server.receive(payload) is None
    assert [type(one) for one in answers(server)] == [m.Problem] * len(noise)
    assert server.receive(codec.encode(say("t1"))) == say("t1")
