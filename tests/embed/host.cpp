// A proxy in C++: the handles belong to unique pointers, and a lambda without captures is a callback.

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <weir.h>

namespace {

struct Free {
    void operator()(weir_config *config) const { weir_config_free(config); }
    void operator()(weir_proxy *proxy) const { weir_free(proxy); }
};

std::string text_of(weir_text text) { return std::string(text.data, text.length); }

} // namespace

int main() {
    std::string log;
    std::unique_ptr<weir_config, Free> config(weir_config_new());
    weir_config_text(config.get(), "host 127.0.0.1\nport 0\n");
    weir_options options = {};
    options.size = sizeof options;
    options.user_data = &log;
    options.on_log = [](void *user_data, const char *lines, size_t length) {
        static_cast<std::string *>(user_data)->append(lines, length);
    };
    options.on_request = [](void *, const weir_request *request, weir_ruling *ruling) {
        // An exception must not leave a callback.
        try {
            std::string body = "hello " + text_of(weir_request_host(request));
            weir_ruling_answer(ruling, 200, body.data(), body.size());
        } catch (...) {
            weir_ruling_refuse(ruling, 500, "no memory");
        }
    };
    char error[512] = "";
    weir_proxy *made = nullptr;
    if (weir_new(config.get(), &options, &made, error, sizeof error) != WEIR_OK) {
        std::cerr << error << '\n';
        return 1;
    }
    std::unique_ptr<weir_proxy, Free> proxy(made);
    char address[64];
    weir_address(proxy.get(), 0, address, sizeof address);
    std::cout << address << std::endl;
    // Until there is a line of the log.
    while (log.empty() && weir_poll(proxy.get(), -1) == WEIR_OK) {
    }
    weir_drain(proxy.get());
    while (weir_poll(proxy.get(), -1) == WEIR_OK) {
    }
    std::cout << log;
    return log.find(" 200 GET http://cpp.example/ ") == std::string::npos;
}
