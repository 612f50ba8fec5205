// A server in the same thread, for tests: a listening socket, and the ROUTER's half of ZMTP written by hand.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <npcsdk/npcsdk.hpp>
#include <string>

#include "check.hpp"

class FakeServer {
public:
    FakeServer() { listen(0); }
    ~FakeServer() {
        drop();
        if (listener_ >= 0) ::close(listener_);
    }
    FakeServer(const FakeServer&) = delete;
    FakeServer& operator=(const FakeServer&) = delete;

    std::string address() const { return "tcp://127.0.0.1:" + std::to_string(port_); }

    void stop() {
        drop();
        ::close(listener_);
        listener_ = -1;
    }
    void start() { listen(port_); }

    /// Take a connection, if one waits.
    bool accept() {
        const int accepted = ::accept(listener_, nullptr, nullptr);
        if (accepted < 0) return false;
        drop();
        peer_ = accepted;
        fcntl(peer_, F_SETFL, O_NONBLOCK);
        const int on = 1;
        setsockopt(peer_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        std::string hands("\xFF\0\0\0\0\0\0\0\0\x7F\3\1NULL", 16);
        hands.resize(64, '\0');
        const std::string ready("\5READY\xBSocket-Type\0\0\0\6ROUTER", 6 + 12 + 4 + 6);
        hands += '\4';
        hands += static_cast<char>(ready.size());
        write(hands + ready);
        in_.clear();
        return true;
    }

    bool connected() const { return peer_ >= 0; }

    void drop() {
        if (peer_ >= 0) ::close(peer_);
        peer_ = -1;
    }

    void write(const std::string& bytes) { CHECK(::send(peer_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size())); }

    static std::string frame(npcsdk::Span body) {
        std::string out;
        if (body.size > 255) {
            out = '\2';
            for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(static_cast<std::uint64_t>(body.size) >> shift);
        } else {
            out = std::string(1, '\0') + static_cast<char>(body.size);
        }
        return out.append(reinterpret_cast<const char*>(body.data), body.size);
    }

    void send(const npcsdk::Data& message) {
        CHECK(message.complete());
        write(frame(message.span()));
    }

    /// The next message of the client's that is here; empty when there is none. Commands of ZMTP are passed over.
    bool receive(npcsdk::Bytes& message) {
        if (peer_ < 0) return false;
        char bytes[65536];
        for (ssize_t size; (size = ::recv(peer_, bytes, sizeof bytes, 0)) > 0;) in_.append(bytes, static_cast<std::size_t>(size));
        if (!greeted_from(in_)) return false;
        while (in_.size() >= 2) {
            std::size_t head = 2, size = static_cast<unsigned char>(in_[1]);
            if (in_[0] & 2) {
                if (in_.size() < 9) return false;
                head = 9;
                size = 0;
                for (std::size_t at = 1; at < 9; ++at) size = size << 8 | static_cast<unsigned char>(in_[at]);
            }
            if (in_.size() < head + size) return false;
            const bool command = (in_[0] & 4) != 0;
            message.assign(in_.begin() + static_cast<std::ptrdiff_t>(head), in_.begin() + static_cast<std::ptrdiff_t>(head + size));
            in_.erase(0, head + size);
            if (!command) return true;
        }
        return false;
    }

private:
    static bool greeted_from(std::string& in) {
        if (in.empty() || in[0] != '\xFF') return true;
        if (in.size() < 64) return false;
        in.erase(0, 64);
        return true;
    }

    void listen(int port) {
        listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
        const int on = 1;
        setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
        CHECK(::listen(listener_, 8) == 0);
        fcntl(listener_, F_SETFL, O_NONBLOCK);
        socklen_t size = sizeof address;
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
    }

    int listener_ = -1, peer_ = -1, port_ = 0;
    std::string in_;
};
