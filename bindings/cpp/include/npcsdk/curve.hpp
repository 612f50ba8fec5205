// A server on another machine: CURVE by a libzmq that the game ships or the system has, loaded at run time.
//
//     CurveOptions curve;
//     curve.address = "tcp://192.168.1.20:5990";
//     curve.keys = CurveKeys::parse(text);            // of the file that `npcsdk keys` made for this client
//     Options options;
//     options.transport = curve_transport(curve);
//
// Nothing is linked: without the library the client's `trouble` says so. On Linux with a libc before 2.34 link `-ldl`.
#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "transport.hpp"

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace npcsdk {

/// A client's key pair and its server's public key, each 40 characters.
struct CurveKeys {
    std::string public_key, secret_key, server_key;

    /// The text of a client's key file; keys that are not in it stay empty.
    static CurveKeys parse(std::string_view text) {
        CurveKeys keys;
        while (!text.empty()) {
            const std::size_t end = text.find('\n');
            const std::string_view line = text.substr(0, end);
            text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
            const std::size_t equals = line.find('=');
            if (equals == std::string_view::npos) continue;
            const std::string_view name = trimmed(line.substr(0, equals)), value = trimmed(line.substr(equals + 1));
            if (name == "public") keys.public_key = value;
            else if (name == "secret") keys.secret_key = value;
            else if (name == "server") keys.server_key = value;
        }
        return keys;
    }

private:
    static std::string_view trimmed(std::string_view text) {
        const auto blank = [](char one) { return one == ' ' || one == '\t' || one == '\r'; };
        while (!text.empty() && blank(text.front())) text.remove_prefix(1);
        while (!text.empty() && blank(text.back())) text.remove_suffix(1);
        return text;
    }
};

struct CurveOptions {
    std::string address;  ///< as the server prints it
    CurveKeys keys;
    std::string library;  ///< the path of libzmq (4.2 or newer, with CURVE); empty: the system's names for it
};

namespace detail {

/// The functions of libzmq that are needed. It stays loaded to the process's end: its own threads run in it.
class Libzmq {
public:
    struct Message {
        alignas(void*) unsigned char bytes[64];
    };
    void* (*ctx_new)() = nullptr;
    void* (*socket)(void*, int) = nullptr;
    int (*close)(void*) = nullptr;
    int (*setsockopt)(void*, int, const void*, std::size_t) = nullptr;
    int (*getsockopt)(void*, int, void*, std::size_t*) = nullptr;
    int (*connect)(void*, const char*) = nullptr;
    int (*send)(void*, const void*, std::size_t, int) = nullptr;
    int (*msg_init)(Message*) = nullptr;
    int (*msg_recv)(Message*, void*, int) = nullptr;
    int (*msg_close)(Message*) = nullptr;
    int (*msg_more)(const Message*) = nullptr;
    void* (*msg_data)(Message*) = nullptr;
    std::size_t (*msg_size)(const Message*) = nullptr;
    int (*has)(const char*) = nullptr;

    /// False, and why, when there is none that can be used.
    bool load(const std::string& path, std::string& why) {
#if defined(_WIN32)
        const char* const names[] = {"libzmq.dll", "libzmq-5.dll", "zmq.dll"};
#elif defined(__APPLE__)
        const char* const names[] = {"libzmq.5.dylib", "libzmq.dylib"};
#else
        const char* const names[] = {"libzmq.so.5", "libzmq.so"};
#endif
        void* library = nullptr;
        if (!path.empty()) library = open(path.c_str());
        else {
            for (const char* const name : names)
                if (!library) library = open(name);
        }
        if (!library) return why = "libzmq is not to be found: ship it with the game, or name it in CurveOptions::library", false;
        const bool all = find(library, "zmq_ctx_new", ctx_new) && find(library, "zmq_socket", socket) && find(library, "zmq_close", close) &&
                         find(library, "zmq_setsockopt", setsockopt) && find(library, "zmq_getsockopt", getsockopt) &&
                         find(library, "zmq_connect", connect) && find(library, "zmq_send", send) && find(library, "zmq_msg_init", msg_init) &&
                         find(library, "zmq_msg_recv", msg_recv) && find(library, "zmq_msg_close", msg_close) &&
                         find(library, "zmq_msg_more", msg_more) && find(library, "zmq_msg_data", msg_data) &&
                         find(library, "zmq_msg_size", msg_size) && find(library, "zmq_has", has);
        if (!all) return why = "libzmq is too old: 4.2 or newer is needed", false;
        if (has("curve") != 1) return why = "libzmq was built without CURVE", false;
        return true;
    }

    /// One for each library and process, never ended: ending it could wait for the network.
    void* context() const {
        static std::mutex mutex;
        static std::vector<std::pair<void* (*)(), void*>> all;
        const std::lock_guard<std::mutex> lock(mutex);
        for (const auto& one : all)
            if (one.first == ctx_new) return one.second;
        all.emplace_back(ctx_new, ctx_new());
        return all.back().second;
    }

private:
#ifdef _WIN32
    static void* open(const char* name) { return reinterpret_cast<void*>(::LoadLibraryA(name)); }
    static void* symbol(void* library, const char* name) {
        return reinterpret_cast<void*>(::GetProcAddress(reinterpret_cast<HMODULE>(library), name));
    }
#else
    static void* open(const char* name) { return ::dlopen(name, RTLD_NOW | RTLD_LOCAL); }
    static void* symbol(void* library, const char* name) { return ::dlsym(library, name); }
#endif
    template <class Function>
    static bool find(void* library, const char* name, Function& out) {
        void* const found = symbol(library, name);
        static_assert(sizeof found == sizeof out, "a function's address is an address");
        std::memcpy(&out, &found, sizeof out);
        return found != nullptr;
    }
};

class CurveLink final : public Transport {
public:
    explicit CurveLink(const CurveOptions& options) : options_(options) {
        const CurveKeys& keys = options.keys;
        if (keys.public_key.size() != 40 || keys.secret_key.size() != 40 || keys.server_key.size() != 40)
            trouble_ = "the keys are none: npcsdk keys makes them, 40 characters each";
        else usable_ = zmq_.load(options.library, trouble_);
        if (usable_) context_ = zmq_.context();
    }
    ~CurveLink() override {
        release();
        shut(lingering);
    }

    bool open() const override { return up_; }
    std::string_view trouble() const override { return trouble_; }

    void tick(double now) override {
        if (!usable_) return;
        if (!socket_ && now >= retry_at_) {
            begin(now);
            if (!socket_) retry_at_ = now + retry_every;
        }
        look();
        // Who is refused is told nothing: the connection just never stands.
        if (!up_ && socket_ && now - since_ > patience) trouble_ = "nobody answers there, or the server does not know these keys";
    }

    bool receive(double) override {
        left_ = most_messages;
        return up_ && (events_ & poll_in) != 0;
    }
    bool more() const override { return false; }

    bool next(Span& message, double) override {
        while (socket_ && left_ > 0) {
            release();
            zmq_.msg_init(&message_);
            holds_ = true;
            if (zmq_.msg_recv(&message_, socket_, dont_wait) < 0) return release(), false;
            --left_;
            const bool more = zmq_.msg_more(&message_) != 0, part = partial_;
            partial_ = more;
            if (more || part) continue;  // of several frames: no message of ours
            message = {static_cast<const std::uint8_t*>(zmq_.msg_data(&message_)), zmq_.msg_size(&message_)};
            return true;
        }
        return false;
    }

    void send(Span message) override {
        // What finds no room is lost with the connection: the peer sends it again after the next greeting.
        if (up_ && zmq_.send(socket_, message.data, message.size, dont_wait) < 0) up_ = false;
    }

    void flush(double) override {}

    void drop(std::string_view reason, double now) override {
        trouble_ = reason;
        shut(0);
        retry_at_ = now + retry_every;
    }

    void close() override {
        shut(lingering);
        retry_at_ = 0;
    }

private:
    // libzmq's numbers, which are part of its ABI.
    static constexpr int dealer = 5, dont_wait = 1, poll_in = 1, poll_out = 2;
    static constexpr int opt_events = 15, opt_linger = 17, opt_reconnect_ivl = 18, opt_reconnect_ivl_max = 21, opt_maxmsgsize = 22,
                         opt_immediate = 39, opt_curve_publickey = 48, opt_curve_secretkey = 49, opt_curve_serverkey = 50,
                         opt_heartbeat_ivl = 75, opt_heartbeat_timeout = 77, opt_sndhwm = 23, opt_rcvhwm = 24;
    static constexpr int lingering = 500;  // milliseconds for a goodbye to leave, behind our back
    static constexpr int most_messages = 4096;  // in one poll: a flood must not hold up a frame
    static constexpr double patience = 2.0, retry_every = 0.5;

    void begin(double now) {
        socket_ = context_ ? zmq_.socket(context_, dealer) : nullptr;
        if (!socket_) return;
        since_ = now;
        const bool set = text(opt_curve_serverkey, options_.keys.server_key) && text(opt_curve_publickey, options_.keys.public_key) &&
                         text(opt_curve_secretkey, options_.keys.secret_key);
        number(opt_linger, 0);
        number(opt_immediate, 1);  // so that "can be sent" means "there is a connection"
        number(opt_reconnect_ivl, 50);
        number(opt_reconnect_ivl_max, 500);
        number(opt_heartbeat_ivl, 1000);
        number(opt_heartbeat_timeout, 5000);
        number(opt_sndhwm, 10000);
        number(opt_rcvhwm, 10000);
        const std::int64_t most = 64 << 20;
        zmq_.setsockopt(socket_, opt_maxmsgsize, &most, sizeof most);
        if (!set) trouble_ = "the keys are none: npcsdk keys makes them";
        else if (zmq_.connect(socket_, options_.address.c_str()) != 0) trouble_ = "the address has to be as the server prints it, tcp://host:port";
        else return;
        shut(0);
        usable_ = false;
    }

    void look() {
        if (!socket_) return;
        std::size_t size = sizeof events_;
        if (zmq_.getsockopt(socket_, opt_events, &events_, &size) != 0) events_ = 0;
        const bool was = up_;
        up_ = (events_ & poll_out) != 0;
        if (up_) since_ = 1e300;
        else if (was) {
            trouble_ = "the connection was closed";
            since_ = 1e300;  // libzmq makes it again; `trouble` keeps the reason
        }
    }

    bool text(int option, const std::string& value) { return zmq_.setsockopt(socket_, option, value.c_str(), value.size() + 1) == 0; }
    void number(int option, int value) { zmq_.setsockopt(socket_, option, &value, sizeof value); }

    void release() {
        if (holds_) zmq_.msg_close(&message_);
        holds_ = false;
    }

    void shut(int linger) {
        if (!socket_) return;
        release();
        number(opt_linger, linger);
        zmq_.close(socket_);  // returns at once
        socket_ = nullptr;
        up_ = false;
        events_ = 0;
        partial_ = false;
    }

    CurveOptions options_;
    Libzmq zmq_;
    Libzmq::Message message_;
    void* context_ = nullptr;
    void* socket_ = nullptr;
    std::string trouble_;
    bool usable_ = false, up_ = false, holds_ = false, partial_ = false;
    int events_ = 0, left_ = 0;
    double since_ = 0, retry_at_ = 0;
};

}  // namespace detail

/// An encrypted connection, for `Options::transport`. Each is for one client.
inline std::shared_ptr<Transport> curve_transport(const CurveOptions& options) { return std::make_shared<detail::CurveLink>(options); }

}  // namespace npcsdk
