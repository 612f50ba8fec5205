"""The scheduler of batching runtimes, without a model: a machine that carries plans out and believes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npcsdk.backends.cells import Cells
from npcsdk.backends.pace import Pace
from npcsdk.backends.plan import Copy, Cut, Drop, Entry, Forget, Load, Plan, Save
from npcsdk.backends.scheduler import Scheduler


@dataclass
class Talk:
    """A request as its caller sees it."""

    prompt: list[int]
    limit: int
    said: list[int] = field(default_factory=list[int])
    steps: int = 0
    """Steps since it was asked, or since its last token."""
    answered: bool = False


class Machine:
    """A runtime whose memory is lists of cells; a cell is a list, so that shared ones are the same object.

    A reply's next token depends on every token in the sequence: a wrong cache would be a wrong reply.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        sequences: int,
        saved: int = 0,
        rate: float = 1000.0,
        depth: float = 1e9,
    ) -> None:
        self.scheduler = scheduler
        self.memory: list[list[list[int]]] = [[] for _ in range(sequences)]
        self.kept: dict[int, list[int]] = {}
        self.room = saved
        self.rate = rate
        self.depth = depth
        """The token after so many costs twice as much as the first."""
        self.seconds = 0.0
        self.talks: dict[int, Talk] = {}
        self.over: dict[int, Talk] = {}
        self.computed = 0
        self.most = 0
        self.unable: set[type] = set()

    def ask(self, prompt: Sequence[int], limit: int = 3, session: str = "", priority: int = 0) -> int:
        number = self.scheduler.add(list(prompt), limit=limit, session=session, priority=priority)
        self.talks[number] = Talk(list(prompt), limit)
        return number

    def cells(self) -> int:
        return len({id(cell) for sequence in self.memory for cell in sequence})

    def step(self) -> Plan:
        plan = self.scheduler.step()
        failed: set[int] = set()
        for move in plan.moves:
            if type(move) in self.unable:
                assert isinstance(move, Cut | Copy | Load)
                self.memory[move.sequence] = []
                failed.add(move.sequence)
                continue
            match move:
                case Drop(sequence):
                    self.memory[sequence] = []
                case Cut(sequence, length):
                    assert 0 < length < len(self.memory[sequence])
                    del self.memory[sequence][length:]
                case Copy(source, sequence, length):
                    assert not self.memory[sequence]
                    assert len(self.memory[source]) >= length > 0
                    self.memory[sequence] = self.memory[source][:length]
                case Save(sequence, state):
                    self.kept[state] = [cell[0] for cell in self.memory[sequence]]
                case Load(state, sequence):
                    assert not self.memory[sequence]
                    self.memory[sequence] = [[token] for token in self.kept.pop(state)]
                case Forget(state):
                    del self.kept[state]
            assert self.cells() <= self.scheduler.cells
            assert sum(map(len, self.kept.values())) <= self.room
        entries = [entry for entry in plan.entries if entry.sequence not in failed]
        for sequence in failed:
            self.scheduler.restart(sequence)
        ran = {entry.request for entry in entries}
        for number, talk in self.talks.items():
            talk.steps += 1
            if talk.answered:
                assert number in ran, "a running reply misses no step"
        for entry in entries:
            talk, sequence = self.talks[entry.request], self.memory[entry.sequence]
            assert entry.start == len(sequence)
            sequence += [[token] for token in entry.tokens]
            so_far = [cell[0] for cell in sequence]
            assert so_far == (talk.prompt + talk.said)[: len(so_far)]
            assert entry.reply == talk.answered
            assert entry.last == (len(so_far) == len(talk.prompt) + len(talk.said))
            self.computed += len(entry.tokens)
        assert len({entry.sequence for entry in entries}) == len(entries)
        self.most = max(self.most, self.cells())
        assert self.cells() <= self.scheduler.cells
        if not failed:
            assert self.cells() == self.scheduler.used
        deep = sum(len(entry.tokens) * (entry.start + len(entry.tokens) / 2) for entry in plan.entries)
        self.seconds = (plan.prefill + plan.replies + deep / self.depth) / self.rate
        self.scheduler.measure(plan, self.seconds)
        for entry in entries:
            if entry.last:
                self.sample(entry.request, [cell[0] for cell in self.memory[entry.sequence]])
        return plan

    def sample(self, number: int, tokens: list[int]) -> None:
        talk = self.talks[number]
        talk.answered, talk.steps = True, 0
        talk.said.append(token_after(tokens))
        if len(talk.said) == talk.limit:
            self.end(number)
        else:
            self.scheduler.next(number, talk.said[-1])

    def end(self, number: int) -> None:
        self.scheduler.end(number)
        self.over[number] = self.talks.pop(number)

    def run(self, most: int = 2000) -> int:
        """Steps until all requests are over."""
        steps = 0
        while self.talks:
            plan = self.step()
            assert plan, "there are requests and nothing is done"
            steps += 1
            assert steps < most
        assert not self.scheduler.busy
        return steps


def token_after(tokens: Sequence[int]) -> int:
    return hash(tuple(tokens)) % 7 + 1000


def reply(prompt: Sequence[int], limit: int) -> list[int]:
    said: list[int] = []
    for _ in range(limit):
        said.append(token_after([*prompt, *said]))
    return said


def machine(
    cells: int = 1000,
    sequences: int = 8,
    *,
    saved: int = 0,
    rate: float = 1000.0,
    depth: float = 1e9,
    **more: object,
) -> Machine:
    scheduler = Scheduler(cells=cells, sequences=sequences, saved=saved, **more)  # type: ignore[arg-type]
    return Machine(scheduler, sequences=sequences, saved=saved, rate=rate, depth=depth)


def text(length: int, seed: int = 0) -> list[int]:
    return [seed * 100_000 + at for at in range(length)]


# Everything at once.

alphabet = st.integers(0, 2)
prompts = st.builds(
    lambda shared, own: text(shared) + own,
    st.sampled_from([0, 1, 20, 40, 64]),
    st.lists(alphabet, min_size=1, max_size=40),
)
asks = st.tuples(
    st.just("ask"), prompts, st.integers(1, 12), st.sampled_from(["", "a", "b", "c", "d"]), st.integers(-1, 2)
)
deeds = st.one_of(
    asks,
    asks,
    st.tuples(st.just("step"), st.integers(1, 6)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.tuples(st.just("lose"), st.integers(0, 9)),
    st.tuples(st.just("release"), st.sampled_from(["", "a", "b"])),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(deeds, max_size=40),
    st.integers(115, 400),
    st.integers(1, 5),
    st.sampled_from([0, 60, 300]),
    st.booleans(),
    st.sampled_from([set(), {Copy}, {Cut}, {Copy, Cut, Load}]),
    st.sampled_from([50.0, 1000.0, 1e6]),
)
def test_whatever_happens_replies_are_right_and_every_request_ends(
    script: list[tuple], cells: int, sequences: int, saved: int, partial: bool, unable: set[type], rate: float
) -> None:
    it = machine(cells, sequences, saved=saved, partial=partial, rate=rate)
    it.unable = unable
    for deed, *rest in script:
        if deed == "ask":
            it.ask(*rest)
        elif deed == "step":
            for _ in range(rest[0]):
                it.step()
        elif deed == "release":
            it.scheduler.release(rest[0])
        elif it.talks:
            number = sorted(it.talks)[rest[0] % len(it.talks)]
            if deed == "cancel":
                it.end(number)
            else:
                it.scheduler.lose(number)
                it.over[number] = it.talks.pop(number)
    it.run()
    for talk in it.over.values():
        assert talk.said == reply(talk.prompt, talk.limit)[: len(talk.said)]
    for session in ("", "a", "b", "c", "d"):
        it.scheduler.release(session)
    it.step()
    assert it.scheduler.used == it.cells() == 0
    assert it.scheduler.kept == len(it.kept) == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(-2, 2)), min_size=1, max_size=12), st.randoms())
def test_nobody_starves_under_a_flood(lengths: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    """New, short, urgent requests come with every step, and those from before still end."""
    it = machine(4000, 16, piece_s=0.032)
    old = [
        it.ask(text(length, at + 1), 4, f"old {at}", priority)
        for at, (length, priority) in enumerate(lengths)
    ]
    for turn in range(4000):
        if all(number in it.over for number in old):
            break
        if len(it.talks) < 14:
            it.ask(text(random.randint(1, 60), 100 + turn), 2, f"new {turn}", 2)
        it.step()
    assert all(number in it.over for number in old)
    it.run()


# Streams.


def test_a_running_stream_gets_a_token_in_every_step_while_a_long_prompt_joins() -> None:
    it = machine(4000, rate=1000.0)
    streams = [it.ask(text(20, seed), 200, f"stream {seed}") for seed in range(1, 4)]
    while not all(it.talks[number].answered for number in streams):
        it.step()
    for _ in range(5):
        it.step()
    it.ask(text(1500, 9), 2, "long")
    longest = 0
    while any(not talk.answered for talk in it.talks.values()):
        plan = it.step()
        assert plan.replies == 3
        longest = max(longest, plan.prefill)
    assert 40 <= longest <= 62  # 50 ms at 1000 tokens a second, and a quarter for a rest


@pytest.mark.parametrize("before", [[], [30], [2000], [300, 40, 2000]])
@pytest.mark.parametrize("depth", [500.0, 2000.0, 1e9])
@pytest.mark.parametrize("rate", [400.0, 1000.0, 20_000.0])
def test_no_gap_is_much_longer_than_a_piece_whatever_the_machine(
    rate: float, depth: float, before: list[int]
) -> None:
    it = machine(20_000, rate=rate, depth=depth)
    for seed, length in enumerate(before):
        it.ask(text(length, seed + 1), 1)
        it.run()
    stream = it.ask(text(100, 8), 5000, "stream")
    while not it.talks[stream].answered:
        it.step()
    for _ in range(8):
        it.step()
    alone = it.seconds
    joins = it.ask(text(1500, 9), 1, "joins")
    longest = 0.0
    while joins not in it.over:
        it.step()
        longest = max(longest, it.seconds)
    assert longest <= 1.5 * (0.05 + alone)


def test_a_machine_that_becomes_slower_is_believed_at_once_and_a_faster_one_soon() -> None:
    it = machine(40_000, rate=1000.0)
    stream = it.ask(text(20, 1), 10_000, "stream")
    it.ask(text(16_000, 2), 1)
    for _ in range(20):
        it.step()
    assert it.talks[stream].answered
    it.rate = 250.0
    it.step()
    assert it.step().prefill <= 14
    it.rate = 1000.0
    for _ in range(12):
        last = it.step().prefill
    assert 38 <= last <= 50


def test_a_prompt_that_keeps_nobody_waiting_is_computed_in_longer_pieces() -> None:
    it = machine(20_000, rate=1000.0)
    it.ask(text(8000, 1), 1)
    sizes = [it.step().prefill for _ in range(8)]
    assert sizes[0] <= 32  # Nothing is known yet: not so many that a slow machine hangs.
    assert sizes[-1] in (128, 192)
    it.rate = 100_000.0
    for _ in range(12):
        last = it.step().prefill
    assert last == 512


def test_on_a_slow_machine_a_prompt_takes_as_long_as_the_reply_beside_it() -> None:
    """Steps of 50 ms would hold four tokens of it then, beside a reply that takes six times as long."""
    pace = Pace(0.05)
    said, read = Entry(0, 0, 300, (1,), True, True), Entry(1, 1, 0, [1] * 32, False, False)
    for _ in range(8):
        pace.measure(Plan((), (said,)), 0.3)
        pace.measure(Plan((), (said, read)), 0.3 + 32 * 0.0125)
    (size,) = pace.share([(0, 1000)], replies=True, width=511)
    assert 20 <= size <= 26


def test_a_step_that_costs_much_before_its_first_token_is_filled() -> None:
    """A large model: reading its weights takes 120 ms, a token of a prompt 25 ms more."""
    pace = Pace(0.05, 0.12)
    start, sizes = 0, list[int]()
    for _ in range(30):
        (size,) = pace.share([(start, 2000 - start)], replies=False, width=512)
        entry = Entry(0, 0, start, [1] * size, False, False)
        pace.measure(Plan((), (entry,)), 0.12 + 0.025 * size)
        start += size
        sizes.append(size)
    assert 4 <= sizes[0] <= 32  # Nothing is known yet but what a single token takes.
    assert all(16 <= size <= 32 for size in sizes[1:])


def test_a_small_rest_is_no_step_of_its_own() -> None:
    it = machine(20_000, rate=1000.0)
    it.ask(text(500, 1), 1)
    it.run()
    it.ask(text(60, 2), 1)
    assert it.step().prefill == 60
    assert not it.talks


def test_a_step_is_never_wider_than_the_batch() -> None:
    it = machine(20_000, 4, rate=1e9, batch=100)
    for seed in range(1, 6):
        it.ask(text(900, seed), 5)
    while it.talks:
        plan = it.step()
        assert plan.prefill + plan.replies <= 100


# Who goes first.


def order(it: Machine) -> list[int]:
    first: list[int] = []
    while it.talks:
        it.step()
        first += [
            number for number, talk in {**it.talks, **it.over}.items() if talk.said and number not in first
        ]
    return first


def test_the_character_that_the_player_faces_goes_before_the_crowd() -> None:
    it = machine(4000)
    crowd = [it.ask(text(300, seed), 2, f"crowd {seed}") for seed in range(1, 4)]
    it.step()
    faced = it.ask(text(120, 9), 2, "faced", 3)
    assert order(it)[0] == faced
    assert set(crowd) <= set(it.over)


def test_what_is_prepared_ahead_goes_behind_those_who_are_spoken_to() -> None:
    it = machine(4000)
    prepared = it.ask(text(60, 1), 1, "prepared", -1)
    spoken_to = it.ask(text(150, 2), 2, "spoken to")
    assert order(it) == [spoken_to, prepared]


def test_of_equal_ones_the_shortest_goes_first() -> None:
    it = machine(4000)
    long, short = it.ask(text(600, 1), 2, "long"), it.ask(text(60, 2), 2, "short")
    assert order(it) == [short, long]


def test_a_request_that_waits_for_room_is_not_overtaken_for_ever() -> None:
    it = machine(200, 4)
    small = [it.ask(text(40, seed), 20, f"{seed}") for seed in range(1, 4)]
    large = it.ask(text(150, 9), 20, "large")
    for turn in range(600):
        it.step()
        if large in it.over:
            break
        if len(it.talks) < 4:
            it.ask(text(40, 100 + turn), 20, f"more {turn}", 1)
    assert large in it.over
    assert set(small) <= set(it.over)


# What is shared.


def test_eight_cold_starts_compute_their_common_beginning_once() -> None:
    it = machine(4000)
    common = text(600)
    for seed in range(8):
        it.ask(common + text(40, seed + 1), 4, f"{seed}")
    it.run()
    assert it.computed == 600 + 8 * (40 + 3)
    assert it.most == it.scheduler.used == it.computed


def test_a_late_one_waits_for_what_is_being_computed() -> None:
    it = machine(4000)
    common = text(600)
    it.ask(common + text(40, 1), 4, "a")
    for _ in range(3):
        it.step()
    assert 0 < it.computed < 600
    it.ask(common + text(40, 2), 4, "b")
    it.run()
    assert it.computed == 600 + 2 * (40 + 3)


def test_the_one_that_others_wait_for_has_their_priority() -> None:
    it = machine(4000)
    common = text(300)
    leader = it.ask(common + text(40, 1), 1, "a", -1)
    other = it.ask(text(200, 5), 1, "other", 0)
    it.step()
    faced = it.ask(common + text(40, 2), 1, "b", 2)
    assert order(it)[-1] == other
    assert {leader, faced} <= set(it.over)


def test_when_the_one_that_others_wait_for_is_cancelled_they_go_on_from_there() -> None:
    it = machine(4000)
    common = text(600)
    first = it.ask(common + text(40, 1), 4, "a")
    it.step()
    it.ask(common + text(40, 2), 4, "b")
    it.ask(common + text(40, 3), 4, "c")
    for _ in range(2):
        it.step()
    assert 0 < it.computed < 600
    it.end(first)
    it.run()
    assert it.computed == 600 + 2 * (40 + 3)


def test_a_copy_that_fails_before_its_request_gets_a_piece_is_noticed() -> None:
    it = machine(4000)
    it.ask(text(100), 1, "a")
    it.run()
    it.unable = {Copy}
    first, second = it.ask(text(100) + text(400, 1), 3, "b"), it.ask(text(100) + text(900, 2), 3, "c")
    plan = it.step()
    assert len([move for move in plan.moves if isinstance(move, Copy)]) == 2
    assert len(plan.entries) == 1
    it.run()
    for number in (first, second):
        assert it.over[number].said == reply(it.over[number].prompt, 3)


def test_a_few_tokens_are_not_waited_for() -> None:
    it = machine(4000)
    it.ask(text(20) + text(500, 1), 1, "a")
    short = it.ask(text(20) + text(12, 2), 1, "b")
    it.step()
    assert short in it.over


def test_a_warm_turn_computes_what_is_new() -> None:
    it = machine()
    first = it.ask(text(100), 5, "a")
    it.run()
    heard = it.over[first].said
    again = it.scheduler.add(text(100) + heard + [7, 8, 9], limit=1, session="a")
    plan = it.scheduler.step()
    assert it.scheduler.cached(again) == 104
    assert plan.entries[0].tokens == [heard[-1], 7, 8, 9]
    assert it.scheduler.computed(again) == 4


def test_the_same_prompt_again_computes_its_last_token() -> None:
    it = machine()
    it.ask(text(100), 5, "a")
    it.run()
    it.scheduler.add(text(100), limit=1, session="a")
    plan = it.scheduler.step()
    assert [type(move) for move in plan.moves] == [Cut]
    assert plan.entries[0].tokens == [99]


def test_a_session_that_does_not_exist_any_more_shares_what_another_holds() -> None:
    it = machine()
    it.ask(text(100) + text(10, 1), 2, "a")
    it.ask(text(100) + text(10, 2), 2, "b")
    it.run()
    it.scheduler.release("a")
    before = it.computed
    it.ask(text(100) + text(10, 1), 2, "a")
    it.run()
    assert it.computed - before == 11


# Eviction.


def test_the_least_recently_heard_goes_first() -> None:
    it = machine(300, 8)
    for seed, name in enumerate("abc", 1):
        it.ask(text(80, seed), 1, name)
        it.run()
    it.ask(text(80, 1), 1, "a")  # heard again
    it.run()
    it.ask(text(80, 9), 1, "new")
    it.run()
    before = it.computed
    for seed, name in ((1, "a"), (3, "c")):
        it.ask(text(80, seed), 1, name)
        it.run()
    assert it.computed - before == 2, "both were still there"


def test_requests_of_no_session_leave_one_sequence_behind() -> None:
    it = machine(4000, 8)
    it.ask(text(50, 99), 1, "named")
    for seed in range(1, 30):
        it.ask(text(50, seed), 1)
        it.run()
    assert it.scheduler.used == 100


def test_what_is_evicted_is_kept_elsewhere_and_comes_back() -> None:
    it = machine(200, 8, saved=150)
    for seed, name in enumerate("abc", 1):
        it.ask(text(80, seed), 1, name)
        it.run()
    assert it.scheduler.kept == 80
    before = it.computed
    it.ask([*text(80, 1), 5], 1, "a")
    it.run()
    assert it.computed - before == 1
    it.scheduler.release("b")
    it.step()
    assert all(len(tokens) <= 81 for tokens in it.kept.values())


def test_a_released_session_is_forgotten_when_its_reply_ends() -> None:
    it = machine()
    it.ask(text(50), 5, "a")
    it.step()
    it.scheduler.release("a")
    it.run()
    it.step()
    assert it.scheduler.used == it.cells() == 0


# Limits.


def test_what_can_never_fit_is_refused() -> None:
    it = machine(100)
    for prompt, limit in (([], 1), ([1], 0), (text(99), 3), (text(101), 1)):
        with pytest.raises(ValueError, match="tokens"):
            it.scheduler.add(prompt, limit=limit)
    it.ask(text(99), 2)
    it.run()


def test_nothing_to_do_is_an_empty_plan() -> None:
    assert not machine().scheduler.step()


def test_a_thousand_turns_leave_nothing_behind() -> None:
    it = machine(500, 4, saved=100)
    for turn in range(1000):
        it.ask(text(40) + text(turn % 30 + 1, turn % 7), 2, "abcdefg"[turn % 7])
        it.run()
    assert it.scheduler.used <= 500
    scheduler = it.scheduler
    assert not scheduler._requests
    assert not scheduler._unwanted
    assert not scheduler._moves


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["grow", "share", "cut"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)
        )
    )
)
def test_cells_are_counted_once(script: list[tuple[str, int, int, int]]) -> None:
    cells, model = Cells(20), {number: list[int]() for number in range(4)}
    fresh = iter(range(10_000))
    for deed, one, other, count in script:
        if deed == "grow":
            if count > cells.free:
                with pytest.raises(ValueError, match="free"):
                    cells.grow(one, count)
                continue
            cells.grow(one, count)
            model[one] += [next(fresh) for _ in range(count)]
        elif deed == "share":
            if model[one] and not model[other]:
                cells.share(one, other, min(count, len(model[one])))
                model[other] = model[one][:count]
        else:
            cells.cut(one, count)
            del model[one][count:]
        assert cells.used == len({cell for held in model.values() for cell in held})
        assert cells.used + cells.free == 20
        assert cells.union([one], other, count) == len({*model[one], *model[other][:count]})
