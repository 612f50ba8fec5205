// Talk to a character on a running server (npcsdk serve), from a terminal.
//
//     g++ -std=c++17 -Ibindings/cpp/include bindings/cpp/examples/console.cpp -o console -pthread
//     ./console [ADDRESS] [CHARACTER]
//
// A game polls once a frame. Here a thread reads the terminal, and the main loop polls sixty times a second.
#include <iostream>
#include <mutex>
#include <npcsdk/npcsdk.hpp>
#include <string>
#include <thread>

using namespace npcsdk;

namespace {

/// Lines of the terminal, read by a thread of their own.
class Keyboard {
public:
    Keyboard() : thread_([this] { read(); }) { thread_.detach(); }

    bool take(std::string& line) {
        const std::lock_guard<std::mutex> lock(shared().mutex);
        if (shared().lines.empty()) return false;
        line = shared().lines.front();
        shared().lines.erase(shared().lines.begin());
        return true;
    }
    bool over() {
        const std::lock_guard<std::mutex> lock(shared().mutex);
        return shared().over && shared().lines.empty();
    }

private:
    struct Shared {
        std::mutex mutex;
        std::vector<std::string> lines;
        bool over = false;
    };
    static Shared& shared() {
        static Shared* const one = new Shared;  // the thread outlives main
        return *one;
    }
    static void read() {
        for (std::string line; std::getline(std::cin, line);) {
            const std::lock_guard<std::mutex> lock(shared().mutex);
            shared().lines.push_back(line);
        }
        const std::lock_guard<std::mutex> lock(shared().mutex);
        shared().over = true;
    }
    std::thread thread_;
};

class Game : public Handler {
public:
    Game(Client& client, std::string npc) : client_(client), npc_(std::move(npc)) {}

    bool may_speak() const { return ready_ && !client_.running(turn_); }
    bool over() const { return client_.over(); }

    void speak(const std::string& line) {
        if (!talk_) talk_ = client_.open(npc_);
        Data state;
        state.begin_map().set("trust", 70).set("night", true).end();
        Say how;
        how.state = &state;
        turn_ = client_.say(talk_, line, how);
        if (!turn_) std::cout << "(" << client_.error().message << ")\n";
    }

    void on_loading(const Loading& loading) override { std::cout << "(loading: " << loading.stage << ")\n"; }

    void on_ready(const Ready& ready) override {
        if (ready_) return;
        ready_ = true;
        std::cout << ready.world << ". Here are:";
        for (const Value::Item npc : ready.npcs) {
            std::cout << ' ' << npc.value["id"].as_text();
            if (npc_.empty()) npc_ = npc.value["id"].as_text();
        }
        std::cout << "\nYou talk to " << npc_ << ".\n" << std::flush;
    }

    void on_text(const Text& text) override { std::cout << text.text << std::flush; }

    void on_action(const Action& action) override {
        std::cout << "\n* " << npc_ << ": " << action.name << ' ' << to_json(action.arguments) << '\n' << std::flush;
        if (action.wants_result) client_.done(action);
    }

    void on_end(const End&) override { std::cout << "\n" << std::flush; }
    void on_failed(const Failed& failed) override { say_what(failed.code, failed.message, failed.hint); }
    void on_problem(const Problem& problem) override { say_what(problem.code, problem.message, problem.hint); }
    void on_goodbye(const Goodbye& goodbye) override { say_what(goodbye.code, goodbye.message, goodbye.hint); }

private:
    static void say_what(std::string_view code, std::string_view message, std::string_view hint) {
        std::cout << "\n[" << code << "] " << message << ' ' << hint << '\n' << std::flush;
    }

    Client& client_;
    std::string npc_;
    Id talk_, turn_;
    bool ready_ = false;
};

}  // namespace

int main(int count, char** arguments) {
    Options options;
    if (count > 1) options.address = arguments[1];
    options.actions = data_from_json(R"([
        {"name": "wave", "description": "Waves at the player.", "returns": "result",
         "parameters": {"type": "object", "properties": {"hand": {"type": "string", "enum": ["left", "right"]}}}}
    ])");
    Client client(options);
    Game game(client, count > 2 ? arguments[2] : "");
    Keyboard keyboard;
    std::string line;
    while (!game.over()) {
        client.poll(game);
        if (game.may_speak()) {
            if (keyboard.take(line)) {
                if (!line.empty()) game.speak(line);
            } else if (keyboard.over()) break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(16));
    }
    return game.over() ? 1 : 0;
}
