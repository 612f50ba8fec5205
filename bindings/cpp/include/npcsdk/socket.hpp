// A TCP socket that never blocks: POSIX, and Winsock on Windows. The only header that touches the operating system.
#pragma once

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <winsock2.h>
#include <ws2tcpip.h>
#ifdef _MSC_VER
#pragma comment(lib, "ws2_32.lib")
#endif
#else
#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace npcsdk::net {

/// Where to connect: a number, not a name, since looking up a name would block.
struct Address {
    sockaddr_storage storage{};
    int size = 0;  ///< 0: none

    /// From ``tcp://127.0.0.1:5990``, ``tcp://localhost:5990`` or ``tcp://[::1]:5990``.
    static Address parse(std::string_view text) {
        constexpr std::string_view scheme = "tcp://";
        if (text.substr(0, scheme.size()) != scheme) return {};
        text.remove_prefix(scheme.size());
        const std::size_t colon = text.rfind(':');
        if (colon == std::string_view::npos) return {};
        std::string_view host = text.substr(0, colon);
        unsigned port = 0;
        const std::string_view digits = text.substr(colon + 1);
        for (const char digit : digits) {
            if (digit < '0' || digit > '9' || port > 65535) return {};
            port = 10 * port + static_cast<unsigned>(digit - '0');
        }
        if (digits.empty() || port == 0 || port > 65535) return {};
        if (host == "localhost") host = "127.0.0.1";
        const bool six = host.size() > 2 && host.front() == '[' && host.back() == ']';
        if (six) host = host.substr(1, host.size() - 2);
        char number[64] = {};
        if (host.empty() || host.size() >= sizeof number) return {};
        std::memcpy(number, host.data(), host.size());
        Address made;
        if (six) {
            sockaddr_in6 address{};
            address.sin6_family = AF_INET6;
            address.sin6_port = htons(static_cast<std::uint16_t>(port));
            if (inet_pton(AF_INET6, number, &address.sin6_addr) != 1) return {};
            std::memcpy(&made.storage, &address, sizeof address);
            made.size = sizeof address;
        } else {
            sockaddr_in address{};
            address.sin_family = AF_INET;
            address.sin_port = htons(static_cast<std::uint16_t>(port));
            if (inet_pton(AF_INET, number, &address.sin_addr) != 1) return {};
            std::memcpy(&made.storage, &address, sizeof address);
            made.size = sizeof address;
        }
        return made;
    }
};

class Socket {
public:
    enum class Outcome { done, later, failed };
    struct Moved {
        Outcome outcome = Outcome::failed;
        std::size_t size = 0;
    };

    Socket() = default;
    ~Socket() { close(); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    /// Begin to connect. Whether it came about, `connected` tells.
    bool connect(const Address& to) {
        close();
        if (!prepare() || to.size == 0) return false;
        handle_ = ::socket(to.storage.ss_family, SOCK_STREAM, IPPROTO_TCP);
        if (handle_ == none) return false;
        const int on = 1;
        setsockopt(handle_, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&on), sizeof on);
#ifdef _WIN32
        u_long nonblocking = 1;
        if (ioctlsocket(handle_, FIONBIO, &nonblocking) != 0) return close(), false;
#else
        fcntl(handle_, F_SETFD, FD_CLOEXEC);
        if (fcntl(handle_, F_SETFL, fcntl(handle_, F_GETFL, 0) | O_NONBLOCK) != 0) return close(), false;
#ifdef SO_NOSIGPIPE
        setsockopt(handle_, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
#endif
        if (::connect(handle_, reinterpret_cast<const sockaddr*>(&to.storage), static_cast<socklen_t>(to.size)) == 0) return true;
        if (under_way()) return true;
        close();
        return false;
    }

    /// Whether the connection that was begun has come about, has yet to, or has failed.
    Outcome connected() {
        if (handle_ == none) return Outcome::failed;
#ifdef _WIN32
        fd_set writable, broken;  // WSAPoll does not tell of refused connections before Windows 10 2004
        FD_ZERO(&writable);
        FD_ZERO(&broken);
        FD_SET(handle_, &writable);
        FD_SET(handle_, &broken);
        timeval now{0, 0};
        const int ready = ::select(0, nullptr, &writable, &broken, &now);
        if (ready == 0) return Outcome::later;
        if (ready < 0 || FD_ISSET(handle_, &broken)) return Outcome::failed;
#else
        pollfd one{handle_, POLLOUT, 0};
        const int ready = ::poll(&one, 1, 0);
        if (ready == 0 || (ready < 0 && errno == EINTR)) return Outcome::later;
        if (ready < 0) return Outcome::failed;
#endif
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(handle_, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &size) != 0 || error != 0)
            return Outcome::failed;
        return to_itself() ? Outcome::failed : Outcome::done;
    }

    Moved receive(std::uint8_t* data, std::size_t size) {
        const auto moved = ::recv(handle_, reinterpret_cast<char*>(data), length(size), 0);
        if (moved > 0) return {Outcome::done, static_cast<std::size_t>(moved)};
        if (moved == 0) return {Outcome::failed, 0};  // the peer closed it
        return {would_block() ? Outcome::later : Outcome::failed, 0};
    }

    Moved send(const std::uint8_t* data, std::size_t size) {
#ifdef MSG_NOSIGNAL
        constexpr int flags = MSG_NOSIGNAL;
#else
        constexpr int flags = 0;
#endif
        const auto moved = ::send(handle_, reinterpret_cast<const char*>(data), length(size), flags);
        if (moved >= 0) return {Outcome::done, static_cast<std::size_t>(moved)};
        return {would_block() ? Outcome::later : Outcome::failed, 0};
    }

    bool valid() const { return handle_ != none; }

    /// Close it behind what was sent. Closing a socket with something unread resets the connection, and what the peer has
    /// not read yet may be thrown away: so that is read first, as far as it is there.
    void finish() {
        if (handle_ == none) return;
#ifdef _WIN32
        ::shutdown(handle_, SD_SEND);
#else
        ::shutdown(handle_, SHUT_WR);
#endif
        std::uint8_t unread[4096];
        for (int round = 0; round < 256 && receive(unread, sizeof unread).outcome == Outcome::done; ++round) {}
        close();
    }

    void close() {
        if (handle_ == none) return;
#ifdef _WIN32
        ::closesocket(handle_);
#else
        ::close(handle_);
#endif
        handle_ = none;
    }

private:
#ifdef _WIN32
    using Handle = SOCKET;
    static constexpr Handle none = INVALID_SOCKET;
    static bool prepare() {
        static const bool started = [] {
            WSADATA data;
            return WSAStartup(MAKEWORD(2, 2), &data) == 0;
        }();
        return started;
    }
    static bool under_way() { return WSAGetLastError() == WSAEWOULDBLOCK; }
    static bool would_block() { return WSAGetLastError() == WSAEWOULDBLOCK; }
    static int length(std::size_t size) { return size > 0x40000000u ? 0x40000000 : static_cast<int>(size); }
#else
    using Handle = int;
    static constexpr Handle none = -1;
    static bool prepare() { return true; }
    static bool under_way() { return errno == EINPROGRESS || errno == EINTR; }
    static bool would_block() {
        const int error = errno;
        if (error == EAGAIN || error == EINTR) return true;
#if EAGAIN != EWOULDBLOCK
        if (error == EWOULDBLOCK) return true;
#endif
        return false;
    }
    static std::size_t length(std::size_t size) { return size; }
#endif

    /// TCP may connect a socket to itself when nobody listens on the port and the system picks that very port.
    bool to_itself() const {
        sockaddr_storage here{}, there{};
        socklen_t here_size = sizeof here, there_size = sizeof there;
        if (getsockname(handle_, reinterpret_cast<sockaddr*>(&here), &here_size) != 0) return false;
        if (getpeername(handle_, reinterpret_cast<sockaddr*>(&there), &there_size) != 0) return true;
        return here_size == there_size && std::memcmp(&here, &there, here_size) == 0;
    }

    Handle handle_ = none;
};

}  // namespace npcsdk::net
