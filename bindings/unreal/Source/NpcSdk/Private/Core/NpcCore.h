// What the plugin does that needs no engine: one connection, and who is told what. Standard C++ only, so that it is
// compiled and run in tests, and so that the headers of sockets never meet those of the engine.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace npcgame {

enum class Kind { text, integer, number, flag };

/// An argument of an action that the game offers.
struct Argument {
    std::string name;
    Kind kind = Kind::text;
    std::string description;
    std::string from;  ///< for text: the list in the state that holds the legal values, such as state.nearby
    bool optional = false;
};

/// An action that the game offers to characters.
struct ActionEntry {
    std::string name, description;
    bool returns = false;   ///< whether the character waits for what became of it
    std::string when;       ///< offered only while this holds in the state
    double timeout = 0.0;   ///< seconds to wait; 0: the server's own
    std::vector<Argument> arguments;
};

struct Setup {
    std::string address = "tcp://127.0.0.1:5990";
    double silence = 5.0;  ///< seconds after which the server counts as unreachable
    std::vector<ActionEntry> actions;
};

/// What is so in the game now.
class State {
public:
    using Content = std::variant<bool, double, std::string, std::vector<std::string>>;
    void set(std::string name, Content content);
    bool remove(std::string_view name);
    const std::vector<std::pair<std::string, Content>>& items() const { return items_; }

private:
    std::vector<std::pair<std::string, Content>> items_;
};

struct Npc {
    std::string id, name, role, voice;
};

struct Failure {
    std::string_view code, message, hint;
};

/// Something that the character does. Its text is valid until the call returns.
struct Act {
    std::string_view turn, id, name;
    bool wants_result = false;
    std::vector<std::pair<std::string, std::string>> arguments;  ///< each as text
    std::string json;                                            ///< all of them as JSON
};

/// A character in the game. Told from within `Core::poll`; it may close its talk, and be destroyed, in any of these.
class Speaker {
public:
    virtual ~Speaker() = default;
    virtual void opened(std::string_view history) = 0;
    virtual void text(std::string_view turn, std::string_view piece) = 0;
    virtual void action_started(std::string_view turn, std::string_view name) = 0;
    /// False when nobody carries it out: the character is told so and does not wait.
    virtual bool action(const Act& act) = 0;
    virtual void ended(std::string_view turn, std::string_view reason, std::string_view text) = 0;
    virtual void failed(std::string_view turn, const Failure& failure) = 0;  ///< an empty turn: it could not be opened
};

/// The game as a whole.
class Listener {
public:
    virtual ~Listener() = default;
    virtual void loading(std::string_view stage, double progress) = 0;  ///< 0 to 1; below 0: not known
    virtual void ready(std::string_view world, std::vector<Npc> npcs) = 0;
    virtual void problem(const Failure& failure) = 0;
    virtual void lost(const Failure& failure) = 0;  ///< the server's goodbye, or its conversations are gone
};

/// Names a speaker's conversation; empty: there is none.
using Talk = std::string;

class Core {
public:
    explicit Core(Listener& listener);
    ~Core();
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;

    /// Connect, and go on trying. Never blocks. What ran before ends.
    void start(const Setup& setup);
    /// Say goodbye and disconnect, without waiting. From within `poll` it takes effect when that returns.
    void stop();
    bool running() const;
    bool connected() const;
    /// Why there is no connection, for logs.
    std::string trouble() const;

    /// Once a frame: everything is told from in here.
    void poll();

    /// Begin a conversation. `history`: an earlier one's name, to continue it. An empty talk: see `error`.
    Talk open(Speaker& speaker, std::string_view npc, std::string_view player, std::string_view history);
    /// End it: the speaker is told nothing more, from now on.
    void close(const Talk& talk);
    std::string history(const Talk& talk) const;

    /// The turn's id, or an empty one: see `error`.
    std::string say(const Talk& talk, std::string_view line, const State& state);
    std::string react(const Talk& talk, std::string_view happening, const State& state);
    void cancel(std::string_view turn);
    /// Stop a turn of which the player has heard only so many code points.
    void interrupt(const Talk& talk, std::string_view turn, std::uint64_t heard);
    void done(std::string_view turn, std::string_view action, std::string_view result);
    void fail(std::string_view turn, std::string_view action, std::string_view reason);

    /// The player walks up to the character, or has paused while typing.
    void prepare(const Talk& talk);
    void typing(const Talk& talk, std::string_view line);
    /// Name this moment of the characters' memory, or go back to it. `Listener::problem` tells when it fails.
    void save(std::string_view slot);
    void load(std::string_view slot);

    /// Why the last of these was not taken: a message for people.
    std::string error() const;

private:
    class Inside;
    Listener& listener_;
    std::unique_ptr<Inside> inside_;
    std::unique_ptr<Inside> leaving_;  // stopped from within its own poll
};

}  // namespace npcgame
