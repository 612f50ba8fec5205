// What a poll costs once everything runs: no memory from the heap for a token, and how long it takes.
// With the argument "measure" it prints the times.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <new>
#include <vector>

#include "fake_server.hpp"

static long allocations = 0;

void* operator new(std::size_t size) {
    ++allocations;
    void* const memory = std::malloc(size);
    if (!memory) std::abort();
    return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

using namespace npcsdk;

struct Game : Handler {
    std::size_t tokens = 0, characters = 0, actions = 0;
    std::int64_t counted = 0;
    void on_text(const Text& text) override {
        ++tokens;
        characters += text.text.size();
    }
    void on_action(const Action& action) override {
        ++actions;
        counted += action.arguments["count"].as_integer();
    }
};

static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

static void place(Data& message, const Id& conversation, const Id& turn, std::uint64_t seq, const char* event) {
    message.clear().begin_map().set("conversation", conversation).set("turn", turn).set("seq", seq).set("event", event);
}

static double at(std::vector<double>& times, double share) {
    std::sort(times.begin(), times.end());
    return 1e6 * times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
}

int main(int count, char** arguments) {
    const bool measure = count > 1 && std::strcmp(arguments[1], "measure") == 0;
    const int rounds = measure ? 20000 : 2000;
    FakeServer server;
    Options options;
    options.address = server.address();
    Client client(options);
    Game game;
    Bytes message;
    const double until = now() + 10;
    while (!server.accept()) client.poll(game), CHECK(now() < until);
    while (!server.receive(message)) client.poll(game), CHECK(now() < until);
    Data out;
    out.begin_map().set("event", "welcome").set("epoch", "e1").end();
    server.send(out);
    while (!client.connected()) client.poll(game), CHECK(now() < until);
    const Id conversation = client.open("mira");
    const Id turn = client.say(conversation, "Good evening.");
    CHECK(conversation && turn);
    std::uint64_t seq = 0;
    const auto token = [&] {
        place(out, conversation, turn, ++seq, "text");
        out.set("text", " evening").set("offset", 8 * seq).end();
        server.send(out);
    };
    const auto action = [&] {
        place(out, conversation, turn, ++seq, "action");
        out.set("id", "a1").set("name", "nod").key("arguments").begin_map().set("count", 2).end().end();
        server.send(out);
    };
    for (int warm = 0; warm < 100; ++warm) {
        token();
        client.poll(game);
    }

    std::vector<double> with_token, with_nothing;
    with_token.reserve(static_cast<std::size_t>(rounds));
    with_nothing.reserve(static_cast<std::size_t>(rounds));
    std::size_t told = game.tokens;
    long spent = 0;
    for (int round = 0; round < rounds; ++round) {
        token();
        if (round % 10 == 0) action();
        const long before = allocations;
        double begin = now();
        client.poll(game);
        with_token.push_back(now() - begin);
        begin = now();
        client.poll(game);
        with_nothing.push_back(now() - begin);
        spent += allocations - before;
        while (server.receive(message)) {}
    }
    CHECK(game.tokens - told == static_cast<std::size_t>(rounds));
    CHECK(game.counted == 2 * static_cast<std::int64_t>(game.actions) && game.actions > 0);
    CHECK(spent == 0);
    if (measure) {
        const double nothing = at(with_nothing, 0.5), one = at(with_token, 0.5);
        std::printf("poll, microseconds: nothing to read p50 %.2f p99 %.2f; one token p50 %.2f p99 %.2f; %ld allocations\n", nothing,
                    at(with_nothing, 0.99), one, at(with_token, 0.99), spent);
    }
    return 0;
}
