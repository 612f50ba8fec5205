"""Who gets the model next."""

from __future__ import annotations

import threading

from npcsdk.backends.fair_lock import FairLock


def queue(lock: FairLock, priorities: list[int]) -> list[int]:
    """Let threads with these priorities queue up one after the other; the order in which they got the lock."""
    order: list[int] = []
    threads: list[threading.Thread] = []
    lock.acquire()

    def work(number: int, priority: int) -> None:
        lock.acquire(priority)
        order.append(number)
        lock.release()

    for number, priority in enumerate(priorities):
        thread = threading.Thread(target=work, args=(number, priority))
        thread.start()
        while lock.waiting <= number:
            pass
        threads.append(thread)
    lock.release()
    for thread in threads:
        thread.join(20)
    return order


def test_first_come_first_served() -> None:
    assert queue(FairLock(), [0, 0, 0, 0]) == [0, 1, 2, 3]


def test_priority_goes_ahead() -> None:
    assert queue(FairLock(), [0, 0, 5, 0]) == [2, 0, 1, 3]


def test_nobody_is_passed_over_for_ever() -> None:
    order = queue(FairLock(), [0, *[1] * 12])
    assert 0 < order.index(0) <= 6


def test_steps_of_two_threads_alternate() -> None:
    lock, order = FairLock(), []
    both = threading.Barrier(2)

    def work(name: str) -> None:
        both.wait()
        for _ in range(200):
            lock.acquire()
            order.append(name)
            lock.release()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(order) == ["a"] * 200 + ["b"] * 200
    assert not lock.waiting
    lock.acquire()
    lock.release()
