// A bare connection that sends back what it gets: the test is the ROUTER, a real one. Ends when it is told to.
// Arguments: the address, and the seconds between heartbeats and for their answer.
#include <chrono>
#include <cstdio>
#include <npcsdk/link.hpp>
#include <string>
#include <thread>

#include "check.hpp"

int main(int count, char** arguments) {
    using namespace npcsdk;
    CHECK(count == 4);
    Link link(net::Address::parse(arguments[1]), {std::atof(arguments[2]), std::atof(arguments[3])}, {});
    const auto clock = [] { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); };
    bool was_open = false, going = true;
    std::string trouble;
    while (going) {
        const double now = clock();
        link.tick(now);
        while (link.receive(now)) {
            Span message;
            while (link.next(message, now)) {
                if (std::string_view(reinterpret_cast<const char*>(message.data), message.size) == "over") going = false;
                link.send(message);
            }
        }
        if (link.open() && !was_open) {
            const std::string hello = "hello";
            link.send({reinterpret_cast<const std::uint8_t*>(hello.data()), hello.size()});
            std::puts("open");
        } else if (was_open && !link.open()) std::puts("lost");
        if (link.trouble() != trouble) std::printf("trouble: %s\n", (trouble = link.trouble()).c_str());
        std::fflush(stdout);
        was_open = link.open();
        link.flush(now);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return 0;
}
